package order

import (
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// Event is something that happened to an order. This file and oversized.go define all events.
type Event interface{ event() }

// Delivered says that a request message came.
type Delivered struct {
	Request Request
	Remains Remains
}

// Woken says that a due message came.
type Woken struct {
	Wakeup  Wakeup
	Remains Remains
	// Fired is when the server fired the wake-up, by that server's clock; zero when the caller
	// does not know.
	Fired time.Time
	// Request reads the request that the record or the wake-up keeps. It is called only when
	// the order ends or calls the gateway with it: a read costs more than a poll.
	Request func() *Request
}

// Remains is what the bus holds of an order beside its record. The caller reads it when
// Stored.NeedsRemains says so.
type Remains struct {
	// Result is the newest result of the order, nil when there is none.
	Result *entrustbus.Result
	// Wakeup is the wake-up of an order without a record, or of a waiting order whose request
	// was delivered again. Nil when there is none.
	Wakeup *Wakeup
	// Forgotten says that the ledger may have lost the last record of the order. Either the
	// ledger is younger than the request, or the bus lost its last writes.
	Forgotten bool
	// LostSince is when the bus stored the last record that it still has. It is set only when
	// the request may have been published again because of that loss. The order may have been
	// submitted after that instant.
	LostSince time.Time
	// CanLookUp says that the gateway can look up issued certificates.
	CanLookUp bool
	// Judge asks the policy in force about the order in a record that is about to be submitted.
	// Nil means no policy: every order is allowed. It must be pure.
	Judge func(Record) Verdict
}

// Answered says that the call of a decision was answered.
type Answered struct {
	Call    Call
	Answer  Answer
	Remains Remains
	Request func() *Request
}

// Deferred says that the call of a decision may not be made now. Its breaker is open, the fleet
// pauses, or an operator suspended such calls. No effect of that decision was carried out.
type Deferred struct {
	By      Event // the event of that decision
	For     time.Duration
	Request func() *Request
}

// Cancelled says that a cancellation wants to end the order.
type Cancelled struct {
	Remains Remains // only Forgotten is needed
	Request func() *Request
}

// Targeted says that the order which a cancellation names was read, and got its Cancelled
// event.
type Targeted struct {
	Target  Stored
	Request func() *Request
}

// Poisoned says that the order's message crashed workers too often to be handled again.
type Poisoned struct{ Request Request }

// ByHand says that an operator completes an order with a certificate, or resolves it as never
// issued. It opens the next generation, so that each generation keeps one result.
type ByHand struct {
	Request Request
	// Certificate is the checked certificate of a completion; nil resolves the order.
	Certificate *Certificate
	// Problem says why the certificate cannot complete the order, "" when it can.
	Problem string
}

func (Delivered) event() {}
func (Woken) event()     {}
func (Answered) event()  {}
func (Deferred) event()  {}
func (Cancelled) event() {}
func (Targeted) event()  {}
func (Poisoned) event()  {}
func (ByHand) event()    {}

// Word is the meaning of an answer for the order's next step.
type Word int

// The words.
const (
	Issued       Word = iota + 1 // Certificate is the requested one
	Pending                      // the gateway has the order under TrackingID
	Declined                     // the gateway, or an approver, ended it without a certificate
	Revoked                      // the certificate is revoked
	Wrong                        // a certificate was issued that does not match the request
	WrongCSR                     // of a track request: a valid certificate for another CSR
	Refused                      // the gateway itself refused this request
	NotFound                     // the gateway itself says that it does not know the order
	NotAccepted                  // provably not accepted
	NoAnswer                     // it may have been accepted
	Malformed                    // accepted, but the answer cannot be read
	NoMatch                      // of a look-up: every certificate was read and none matches
	Unsearchable                 // of a look-up: a repetition would give the same answer
)

// String returns the word for people and traces.
func (w Word) String() string {
	words := [...]string{
		Issued: "issued", Pending: "pending", Declined: "declined", Revoked: "revoked", Wrong: "wrong certificate", WrongCSR: "wrong CSR",
		Refused: "refused", NotFound: "not found", NotAccepted: "not accepted", NoAnswer: "no answer", Malformed: "malformed",
		NoMatch: "no match", Unsearchable: "unsearchable",
	}
	if w < 1 || int(w) >= len(words) {
		return "unknown"
	}
	return words[w]
}

// Answer is the result of a call.
type Answer struct {
	Word       Word
	TrackingID string
	// Status is the gateway's own status, for the log.
	Status string
	// Certificate is set with Issued only.
	Certificate *Certificate
	// Serial is the serial of a Wrong certificate.
	Serial string
	// Error says what went wrong. It is set with every word but Issued, Pending,
	// Revoked and NoMatch.
	Error *entrustbus.ResultError
	// Written says that the call was written to the gateway, though the gateway did not accept
	// it.
	Written bool
	// RetryAfter is the gateway's Retry-After, 0 for none.
	RetryAfter time.Duration
	// OthersAnswered says that polls of other orders of the CA got good answers after this
	// order's first refusal.
	OthersAnswered bool
}

// Certificate is a checked certificate in the form of a result.
type Certificate struct {
	PEM, ChainPEM         string
	Serial, SerialDecimal string
	NotBefore, NotAfter   time.Time
	// Warnings are one line each for the result, for example that the chain was shortened.
	Warnings []string
}

// NeedsRemains reports whether the caller must read Remains before a decision. A redelivered
// message or wake-up may follow a crash between the result and the close, and a missing record
// may have been lost. A message that is older than the ledger counts as redelivered.
func (s Stored) NeedsRemains(redelivered bool) bool {
	switch s.Phase {
	case "", Awaiting:
		return redelivered
	case Closed:
		return false
	}
	return true
}
