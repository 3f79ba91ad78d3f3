// Package gatewaytest is a simulator of the Entrust CA Gateway: a real HTTPS
// server with mutual TLS and its own CA, for tests, the sandbox, compose.yaml and
// chaos runs. Never use it in production: its keys are on disk without protection,
// its control listener has no authentication, and it signs every request.
//
//	gw, err := gatewaytest.Start(gatewaytest.Config{PendingFraction: 0.3, ApproveAfter: time.Second})
//	…
//	defer gw.Close()
//	client, err := gw.Client() // or any client with gw.ClientCert(), gw.ClientKey(), gw.ServerCA()
//	resp, err := client.Get(gw.URL() + "/v1/certificate-authorities/" + gw.CAID())
//
// # Dialects
//
// The CertCtl dialect is flat: a PEM request in "csr", an answer with trackingId,
// status, certificate and chain (200 issued or rejected, 201 pending),
// GET …/enrollments/{trackingId}, and PUT …/certificates/{decimal}/revoke. The
// simulator recognises the type of each name in subjectAltNames by its form, since
// clients send all of them as dNSName.
//
// The CAGW dialect is the CA Gateway 1.x as its public clients use it: the list of
// CAs and a CA with $fields, enrollments in X509, PEM and PKCS12, a certificate by
// serial, profiles with their requirements, actions on a certificate (revoke, hold,
// unhold), certificate-events in pages, the status of a CA, health at
// /actuator/health, and error bodies.
//
// These parts of it are guesses, since no source outside Entrust has them. A pending
// enrollment is a 201 with an id and no body, and GET …/enrollments/{id} asks for it.
// All error codes but cagw-4018, the status of the licence cap, the numbers of
// events, and the word of a rejection are guesses too.
//
// The simulator checks the signature of a request. Certificates have the requested
// subject, names and validity, and there is an intermediate between certificate and
// root. Keys are ECDSA P-256.
//
// # What happens to an order
//
// The part of a common name before the first hyphen decides a single order:
//
//	issue-…    issued at once
//	reject-…   rejected at once
//	pending-…  pending, approved after Config.ApproveAfter (0: by hand)
//	decline-…  pending, rejected after Config.ApproveAfter (0: by hand)
//	hold-…     pending until Server.Approve or Reject
//
// Config.PendingFraction and RejectFraction decide all others. The simulator draws
// them, and the fractions of a Fault, by seed and common name, so a run with the same
// names repeats. Faults come before both. An approval takes effect at the first poll or
// listing of events after its time.
//
// # The control listener
//
// Config.AdminAddr opens a plain HTTP listener for other processes. Answers are JSON. A post without a
// result answers 204.
//
//	GET    /                             a page: counts, pending orders, and buttons for the posts below
//	GET    /healthz                      "ok", or 503 while down
//	GET    /_sim/info                    URL, dialect, CA ids, profiles, paths of the client pair
//	GET    /_sim/stats                   Stats
//	GET    /_sim/enrollments             []Enrollment; ?key=HASH one of them, ?min=2 those enrolled twice or more
//	GET    /_sim/revocations             []Revocation
//	GET    /_sim/polls                   []PollRecord; ?id=TRACKING one of them
//	GET    /_sim/pending                 []PendingOrder, the oldest first
//	GET    /_sim/faults                  []Fault
//	POST   /_sim/faults                  adds a Fault: {"op":"enroll","kind":"latency","delay":"2s"}
//	PUT    /_sim/faults                  replaces all by a []Fault
//	DELETE /_sim/faults                  removes ?id=N, or all
//	POST   /_sim/approve?id=TRACKING     or ?all=true&over=1m
//	POST   /_sim/reject?id=TRACKING
//	POST   /_sim/down?on=true            or false
//	POST   /_sim/cut                     resets every open connection, once
//	POST   /_sim/rotate-client           writes a new client pair
//
// # Limits
//
// An order takes about 400 bytes while it is pending and about 1,100 once issued. The
// simulator keeps every order. The journal of Config.Persist is never compacted and not
// synced to disk: it survives the process, not the machine. Poll counts, faults and
// statistics of requests do not survive. There are no CRLs and no OCSP.
package gatewaytest
