// Package gateway is a typed client of the Entrust CA Gateway: enroll, poll,
// revoke, look up and probe, over an *http.Client that does the mutual TLS.
//
// Two kinds of server answer under the same paths. The "cagw" dialect is the CA
// Gateway 1.x as Entrust's own clients use it. The "certctl" dialect is flat; the
// certctl connector expects it. Both implement the dialect interface. "auto" asks
// the server once which one it is.
//
// The table in triage.go alone decides what an answer means, and what a missing answer
// means. docs/gateway.md repeats it for operators. Errors are *Error. Their Fate says what
// the caller may do next, above all whether it may send the same enrollment again.
//
// The package does not queue, retry or wait on behalf of its caller. No CSR, certificate,
// key or answer body reaches an error or the log.
package gateway
