package order

import (
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// Event is one thing that happened to an order. The types below are all there are.
type Event interface{ event() }

// Delivered: a request message came.
type Delivered struct {
	Request Request
	Remains Remains
}

// Woken: a due message came.
type Woken struct {
	Wakeup  Wakeup
	Remains Remains
	// Fired is when the server made the message, by the clock of the server that did; zero
	// where the caller does not know.
	Fired time.Time
	// Request reads the request that the record or the wake-up keeps. It is called only
	// where the order ends or calls the gateway with it: reading one costs more than a
	// poll.
	Request func() *Request
}

// Remains is what the bus holds of an order beside its record. The caller reads it
// where Stored.NeedsRemains says so.
type Remains struct {
	// Result is the newest result of the order, nil where there is none.
	Result *entrustbus.Result
	// Wakeup is the wake-up of an order without a record, or of one that waits while its
	// request came again; nil where there is none.
	Wakeup *Wakeup
	// Forgotten says that the ledger may have lost the last record of the order: it is
	// younger than the request, or the bus lost its last writes since.
	Forgotten bool
	// LostSince is when the bus stored the last record that it did not lose, where the
	// request may have been published again because of that loss; zero elsewhere. The
	// order may have been submitted from then on.
	LostSince time.Time
	// CanLookUp says that the gateway has a look-up of issued certificates.
	CanLookUp bool
	// Judge asks the policy in force about the order in a record that is about to be
	// submitted. nil is no policy: every order is allowed. It must be pure.
	Judge func(Record) Verdict
}

// Answered: the call of a decision was answered.
type Answered struct {
	Call    Call
	Answer  Answer
	Remains Remains
	Request func() *Request
}

// Deferred: the call of a decision may not be made now: its breaker is open, the
// fleet pauses, or an operator suspended such calls. Nothing of that decision was carried out.
type Deferred struct {
	By      Event // the event that was decided on
	For     time.Duration
	Request func() *Request
}

// Cancelled: a cancellation asks for the end of the order.
type Cancelled struct {
	Remains Remains // of which Forgotten alone is needed
	Request func() *Request
}

// Targeted: the order that a cancellation names was read, and got its Cancelled event.
type Targeted struct {
	Target  Stored
	Request func() *Request
}

// Poisoned: the message that brought the order crashed workers too often to be handled
// again.
type Poisoned struct{ Request Request }

// ByHand: an operator completes an order with a certificate, or resolves it as never
// issued. It opens the next generation, so that each generation keeps one result.
type ByHand struct {
	Request Request
	// Certificate is the checked certificate of a completion; nil resolves the order.
	Certificate *Certificate
	// Problem says why the certificate cannot complete the order, "" where it can.
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

// Word is what an answer says, seen from what the order does next.
type Word int

// The words.
const (
	Issued       Word = iota + 1 // Certificate is the one that was asked for
	Pending                      // the gateway has the order under TrackingID
	Declined                     // the gateway, or an approver, ended it without a certificate
	Revoked                      // the certificate is revoked
	Wrong                        // a certificate was issued that is not the one asked for
	WrongCSR                     // of a track request: a good certificate, of another CSR
	Refused                      // the gateway's own no to this request
	NotFound                     // the gateway does not know the order, in its own words
	NotAccepted                  // provably not accepted
	NoAnswer                     // it may have been accepted
	Malformed                    // accepted, as it says, in words that cannot be read
	NoMatch                      // of a look-up: every certificate was read, none matches
	Unsearchable                 // of a look-up: asking again tells nothing either
)

// String is the word for people and traces.
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

// Answer is what a call brought.
type Answer struct {
	Word       Word
	TrackingID string
	// Status is the gateway's own word, for the log.
	Status string
	// Certificate is set with Issued only.
	Certificate *Certificate
	// Serial is that of a Wrong certificate.
	Serial string
	// Error says what went wrong. It is set with every word but Issued, Pending,
	// Revoked and NoMatch.
	Error *entrustbus.ResultError
	// Written says that the call was written to the gateway, though it was not
	// accepted.
	Written bool
	// RetryAfter is when the gateway wants to be asked again, 0 where it does not say.
	RetryAfter time.Duration
	// OthersAnswered says that polls of other orders of the CA were answered well since
	// this order's first no.
	OthersAnswered bool
}

// Certificate is a checked certificate in the words of a result.
type Certificate struct {
	PEM, ChainPEM         string
	Serial, SerialDecimal string
	NotBefore, NotAfter   time.Time
	// Warnings say what is to be known of it beside that, as of a chain that was shortened:
	// one line each, for the result.
	Warnings []string
}

// NeedsRemains reports whether the caller must read what the bus holds of the order
// beside its record before it decides: a redelivered message or wake-up may follow a
// death between the result and the close, and a record that is missing may have been
// lost. A message that is older than the ledger counts as redelivered.
func (s Stored) NeedsRemains(redelivered bool) bool {
	switch s.Phase {
	case "", Awaiting:
		return redelivered
	case Closed:
		return false
	}
	return true
}
