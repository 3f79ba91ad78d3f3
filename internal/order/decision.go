package order

import (
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// Step is one effect of a decision on the bus. Effects are carried out in the order of Steps,
// for every decision.
type Step string

// The steps.
const (
	StepRecord Step = "record" // write Decision.Record over the record that the decision is based on
	StepLetter Step = "letter" // publish Decision.Letter
	StepResult Step = "result" // publish Decision.Result, unless there is a result of this generation or a later one
	StepAudit  Step = "audit"  // write Decision.Audit to the audit trail, for the result in force
	StepClosed Step = "closed" // write Record.Closed of the result in force
	StepWakeup Step = "wakeup" // schedule Decision.Wakeup, or remove the present wake-up
	StepSettle Step = "settle" // acknowledge the message, or hand it back
)

// Steps returns every step in the order in which they are carried out. A crash between any two
// is a row of the crash table in package consumer.
func Steps() []Step {
	return []Step{StepRecord, StepLetter, StepResult, StepAudit, StepClosed, StepWakeup, StepSettle}
}

// Decision says what to do about an event: the effects, then the call. A zero field is no
// effect.
type Decision struct {
	Record *Record
	Letter *Letter
	Result *Conclusion
	// Stands is the result in force, when the decision closes an order without publishing a
	// result.
	Stands *entrustbus.Result
	// Audit is set when Settings.Audited is, and only for a decision with an effect outside.
	Audit  *Audit
	Close  bool
	Wakeup *Wakeup
	Unwake bool // remove the wake-up of this generation
	Settle Settle
	// Refusal is published to a producer after the dead letter of a request without a result.
	// It is not guaranteed: it may be lost or repeated.
	Refusal *entrustbus.Refusal
	// Call is the call to make after the effects. Its answer is the next event. A decision with
	// a call does not settle the message.
	Call *Call
	// Keep is the record of an end that is published without being written first. It is written
	// when a stop prevents the result.
	Keep *Record
	// Notice is the log line of the decision.
	Notice Notice
	// Reconciled says how an indeterminate order continued: adopted, resubmitted, held.
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

// Settle says what becomes of the message that brought the event.
type Settle struct {
	Verb  Verb
	After time.Duration // of Return
}

// Verb is the answer to the server about a message.
type Verb int

// The verbs.
const (
	Leave   Verb = iota // no answer: the handling continues, or the message belongs to another order
	Ack                 // handled
	AckSure             // handled, without a record that shows it: the server must confirm
	Return              // to be delivered again later
)

// Letter is a dead letter to be published.
type Letter struct {
	Reason     Reason
	Key        Key // ID is "" when none could be read
	Kind       entrustbus.Kind
	Generation int
	TrackingID string
	Why        string // one line; never a CSR, certificate or key
	Deliveries int
	Deaths     int // this one included
	Request    Message
	// ID identifies the dead letter, so that a repetition of it is recognised.
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

// Call is the call of a decision. Its fields distinguish its answer from the answer to another
// call for the same order.
type Call struct {
	Op         Op
	Generation int
	Owner      string    // of an enroll or revoke
	Submission int       // of an enroll or revoke; of a look-up: the last submission that it covers
	Since      time.Time // of a look-up: there was no earlier submission
	Polls      int       // of a poll: the count of earlier polls
	Last       bool      // of a poll: it is the one at the deadline
}

// Notice is one line for the log; Text is "" for none.
type Notice struct {
	Level Level
	Text  string
	Cause string
	Wait  time.Duration
}

// Level is the log level of a notice.
type Level int

// The levels.
const (
	Debug Level = iota
	Info
	Warn
	Error
)
