package entrustbus

// Version is the contract's version, the `v` of requests and results.
const Version = 1

// Headers of messages on the bus. A producer sets Content-Type, and HeaderOrderID, so that even a request that cannot be read
// gets its result. To continue its trace it sets the two W3C headers. To sign its requests it sets HeaderSignature,
// HeaderKeyID and HeaderSignedAt. The other Entrust-* headers are the worker's own. The worker reads them on messages of an
// operator, on a subject of [Subjects.Operator], and ignores them on a producer's request.
const (
	HeaderContentType = "Content-Type"
	HeaderTraceParent = "traceparent"
	HeaderTraceState  = "tracestate"

	HeaderOrderID    = "Entrust-Order-Id"    // the request's id
	HeaderKind       = "Entrust-Kind"        // the request's kind
	HeaderDeadline   = "Entrust-Deadline"    // when a pending order expires, RFC 3339 with fractions, UTC
	HeaderAttempt    = "Entrust-Attempt"     // polls so far, decimal
	HeaderTrackingID = "Entrust-Tracking-Id" // the gateway's tracking id of the order
	HeaderReplay     = "Entrust-Replay"      // replay generation, decimal, absent for 0
	HeaderDue        = "Entrust-Due"         // when a wake-up is due, RFC 3339 with fractions, UTC

	HeaderEventID = "Entrust-Event-Id" // the id of an event

	HeaderDeadReason     = "Entrust-Dead-Reason"     // undecodable, invalid, denied, rejected, unconfirmed, …
	HeaderDeadError      = "Entrust-Dead-Error"      // one line: what was wrong
	HeaderDeadSubject    = "Entrust-Dead-Subject"    // the subject that the message arrived on
	HeaderDeadDeliveries = "Entrust-Dead-Deliveries" // how often it was delivered, decimal
	HeaderDeadTime       = "Entrust-Dead-Time"       // when it became a dead letter, RFC 3339, UTC
)
