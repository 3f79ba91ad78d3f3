package entrustbus

// Version is the contract's version, the `v` of requests and results.
const Version = 1

// Headers of messages on the bus. A producer sets Content-Type and, to continue its trace, the two W3C headers; the
// Entrust-* ones are the worker's own. On a request it believes two of them, which an operator's replay carries:
// HeaderReplay, as far as it may follow the generation in force, and the count of deaths. NATS permissions end at
// subjects, so who may publish a producer's requests may replay them too; no producer has a use for it.
const (
	HeaderContentType = "Content-Type"
	HeaderTraceParent = "traceparent"
	HeaderTraceState  = "tracestate"

	HeaderOrderID    = "Entrust-Order-Id"    // the request's id
	HeaderKind       = "Entrust-Kind"        // the request's kind
	HeaderDeadline   = "Entrust-Deadline"    // when a pending order expires, RFC 3339 with fractions, UTC
	HeaderAttempt    = "Entrust-Attempt"     // polls so far, decimal
	HeaderTrackingID = "Entrust-Tracking-Id" // the gateway's name of the order
	HeaderReplay     = "Entrust-Replay"      // replay generation, decimal, absent for 0
	HeaderDue        = "Entrust-Due"         // when a slot is to fire, RFC 3339 with fractions, UTC

	HeaderDeadReason     = "Entrust-Dead-Reason"     // undecodable, invalid, denied, rejected, unconfirmed, …
	HeaderDeadError      = "Entrust-Dead-Error"      // one line that says what was wrong
	HeaderDeadSubject    = "Entrust-Dead-Subject"    // the subject that the message arrived on
	HeaderDeadDeliveries = "Entrust-Dead-Deliveries" // how often it was delivered, decimal
	HeaderDeadTime       = "Entrust-Dead-Time"       // when it was given up, RFC 3339, UTC
)
