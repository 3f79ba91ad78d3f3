package entrustbus

// Version is the contract's version, the `v` of requests and results.
const Version = 1

// Headers of messages on the bus. A producer sets Content-Type, HeaderOrderID, so that even a request that cannot be
// read gets its result, and, to continue its trace, the two W3C headers. One that signs its requests sets HeaderSignature,
// HeaderKeyID and HeaderSignedAt. The other Entrust-* ones are the worker's own. It believes them where an operator published the message, on a subject of
// [Subjects.Operator], and ignores them on a producer's request.
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
	HeaderDue        = "Entrust-Due"         // when a wake-up is due, RFC 3339 with fractions, UTC

	HeaderEventID = "Entrust-Event-Id" // of an event: its id

	HeaderDeadReason     = "Entrust-Dead-Reason"     // undecodable, invalid, denied, rejected, unconfirmed, …
	HeaderDeadError      = "Entrust-Dead-Error"      // one line that says what was wrong
	HeaderDeadSubject    = "Entrust-Dead-Subject"    // the subject that the message arrived on
	HeaderDeadDeliveries = "Entrust-Dead-Deliveries" // how often it was delivered, decimal
	HeaderDeadTime       = "Entrust-Dead-Time"       // when it was given up, RFC 3339, UTC
)
