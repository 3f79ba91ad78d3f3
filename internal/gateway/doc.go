// Package gateway is a typed client of the Entrust CA Gateway: enroll, poll,
// revoke, look up and probe, over an *http.Client that brings the mutual TLS.
//
// Two kinds of server answer under the same paths. The "cagw" dialect is the CA
// Gateway 1.x as Entrust's own clients speak it, the "certctl" dialect is the
// flat one that the certctl connector expects. Both sit behind the dialect
// interface; "auto" asks the server once which one it is.
//
// What an answer means, or the lack of one, is decided in one place: the table in
// triage.go, which docs/gateway.md repeats for operators. Errors are *Error and say
// by their Fate what the caller may do next. Above all they say whether the same
// enrollment may be sent again.
//
// Nothing here knows about queues, retries or waiting. No CSR, certificate, key or
// answer body reaches an error or the log.
package gateway
