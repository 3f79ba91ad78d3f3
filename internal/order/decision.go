package order

import (
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// Step is one effect of a decision on the bus. Effects are carried out in the order of
// Steps, whatever the decision.
type Step string

// The steps.
const (
	StepRecord Step = "record" // write Decision.Record over the record that was decided on
	StepLetter Step = "letter" // publish Decision.Letter
	StepResult Step = "result" // publish Decision.Result, unless a result of this generation or a later one stands
	StepAudit  Step = "audit"  // write Decision.Audit to the audit trail, of the result that stands
	StepClosed Step = "closed" // write Record.Closed of the result that stands
	StepWakeup Step = "wakeup" // schedule Decision.Wakeup, or remove the one there is
	StepSettle Step = "settle" // acknowledge the message, or hand it back
)

// Steps returns every step in the one order in which they are carried out. A crash
// between any two is a row of the crash table in package consumer.
func Steps() []Step {
	return []Step{StepRecord, StepLetter, StepResult, StepAudit, StepClosed, StepWakeup, StepSettle}
}

// Decision is what is to be done about an event: the effects, then the call. A field
// that is zero is no effect.
type Decision struct {
	Record *Record
	Letter *Letter
	Result *Conclusion
	// Stands is the result that an order without a result of its own is closed with.
	Stands *entrustbus.Result
	// Audit is set where Settings.Audited is, and only of a decision with an effect outside.
	Audit  *Audit
	Close  bool
	Wakeup *Wakeup
	Unwake bool // remove the wake-up of this generation
	Settle Settle
	// Refusal tells a producer, after the letter, of a request without a result. It is no
	// effect that must happen: it may be lost, and come twice.
	Refusal *entrustbus.Refusal
	// Call is what to ask next, after the effects; its answer is the next event. A
	// decision with a call settles nothing.
	Call *Call
	// Keep is the record of an end that is published without being written first. It
	// is written where a stop keeps the result from being published.
	Keep *Record
	// Notice is the one line that the log gets.
	Notice Notice
	// Reconciled says how an indeterminate order went on: adopted, resubmitted, held.
	Reconciled string
}

// Has reports whether the decision has the step.
func (d *Decision) Has(s Step) bool {
	switch s {
	case StepRecord:
		return d.Record != nil
	case StepLetter:
		return d.Letter != nil
	case StepResult:
		return d.Result != nil
	case StepAudit:
		return d.Audit != nil
	case StepClosed:
		return d.Close
	case StepWakeup:
		return d.Wakeup != nil || d.Unwake
	case StepSettle:
		return d.Settle.Verb != Leave
	}
	return false
}

// Settle is what becomes of the message that brought the event.
type Settle struct {
	Verb  Verb
	After time.Duration // of Return
}

// Verb is what to tell the server about a message.
type Verb int

// The verbs.
const (
	Leave   Verb = iota // nothing: the decision goes on, or is about another order's message
	Ack                 // done with
	AckSure             // done with, and no record shows it: confirmed by the server
	Return              // comes again after a while
)

// Letter is a dead letter to be published.
type Letter struct {
	Reason     Reason
	Key        Key // ID is "" where none could be read
	Kind       entrustbus.Kind
	Generation int
	TrackingID string
	Why        string // one line; never a CSR, certificate or key
	Deliveries int
	Deaths     int // this one included
	Request    Message
	// ID tells repeats of one letter from new ones.
	ID string
}

// Op is an operation of the gateway, or of the ledger for a cancellation.
type Op string

// The operations.
const (
	OpEnroll Op = "enroll"
	OpPoll   Op = "poll"
	OpRevoke Op = "revoke"
	OpLookUp Op = "lookup"
	OpTarget Op = "target" // read the order that a cancellation names, give it Cancelled, answer with Targeted
)

// Call is what a decision asks for. It carries what tells its answer from that of
// another call for the same order.
type Call struct {
	Op         Op
	Generation int
	Owner      string    // of an enroll or revoke
	Submission int       // of an enroll or revoke; of a look-up: the last one that it can tell of
	Since      time.Time // of a look-up: no submission was made before
	Polls      int       // of a poll: made before
	Last       bool      // of a poll: woken for the deadline
}

// Notice is one line for the log; Text is "" for none.
type Notice struct {
	Level Level
	Text  string
	Cause string
	Wait  time.Duration
}

// Level is the weight of a notice.
type Level int

// The levels.
const (
	Debug Level = iota
	Info
	Warn
	Error
)
