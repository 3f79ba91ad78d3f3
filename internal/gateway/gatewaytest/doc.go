// Package gatewaytest is a simulator of the Entrust CA Gateway: a real HTTPS
// server with mutual TLS and a CA of its own, for tests, the sandbox,
// compose.yaml and chaos runs. It is never for production: its keys lie on disk
// unprotected, its control listener has no authentication, and it signs what it is asked.
//
//	gw, err := gatewaytest.Start(gatewaytest.Config{PendingFraction: 0.3, ApproveAfter: time.Second})
//	…
//	defer gw.Close()
//	client, err := gw.Client() // or any client with gw.ClientCert(), gw.ClientKey(), gw.ServerCA()
//	resp, err := client.Get(gw.URL() + "/v1/certificate-authorities/" + gw.CAID())
//
// # What it speaks
//
// The CertCtl dialect is the flat one: a PEM request in "csr", an answer with
// trackingId, status, certificate and chain (200 issued or rejected, 201
// pending), GET …/enrollments/{trackingId}, and PUT …/certificates/{decimal}/revoke.
// It takes every name of subjectAltNames by its form, since its clients call all of them dNSName.
//
// The CAGW dialect is the CA Gateway 1.x as its public clients use it: the list
// of CAs and a CA with $fields, enrollments in X509, PEM and PKCS12, a certificate
// by serial, profiles with their requirements, actions on a certificate (revoke, hold, unhold),
// certificate-events in pages, the status of a CA, health at /actuator/health, and error bodies. A pending enrollment
// is a 201 with an id and no body, and GET …/enrollments/{id} asks for it:
// nobody outside Entrust has published that, so it is this package's guess.
// So are all error codes but cagw-4018, the status of the licence cap, the
// numbers of events, and the word of a rejection.
//
// What is signed is honest: the request's signature is checked, subject, names
// and validity are the ones asked for, an intermediate stands between the
// certificate and the root, keys are ECDSA P-256.
//
// # How orders fare
//
// The part of a common name before the first hyphen steers a single order:
//
//	issue-…    issued at once
//	reject-…   rejected at once
//	pending-…  pending, approved after Config.ApproveAfter (0: by hand)
//	decline-…  pending, rejected after Config.ApproveAfter (0: by hand)
//	hold-…     pending until Server.Approve or Reject
//
// All others go by Config.PendingFraction and RejectFraction. Those, and the
// fractions of a Fault, are drawn by seed and common name, so a run with the same names
// repeats. Faults come before both. An approval falls at its time but is
// acted on when somebody looks: a poll, or a listing of events.
//
// # The control listener
//
// Config.AdminAddr opens a plain HTTP listener for other processes. Answers are JSON, and the posts that have
// nothing to show answer 204.
//
//	GET    /                             a page: counts, what waits, and buttons for the posts below
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
// An order takes some 400 bytes while it is pending and some 1,100 once issued,
// and none is ever forgotten. The journal of Config.Persist is never compacted and not
// synced to disk: it survives the process, not the machine. Poll counts, faults and statistics of
// requests do not survive. There are no CRLs and no OCSP.
package gatewaytest
