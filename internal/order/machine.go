package order

import (
	"reflect"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/pollsched"
)

// Outcomes of an indeterminate order when a look-up decides nothing. Lookup is a value of
// Settings.OnRollback only.
const (
	Lookup   = "lookup"   // looked up if the gateway can; held if that decides nothing
	Hold     = "hold"     // a result `unconfirmed` and a dead letter; an operator decides
	Resubmit = "resubmit" // another submission, flagged as a possible duplicate
)

// Settings are the configuration of decisions. All fields are required.
type Settings struct {
	// Worker is the name under which this worker owns submitting orders.
	Worker string
	// CAID and ProfileID are used for requests that name none.
	CAID, ProfileID string
	// Lease is the order lease: how long a worker owns an order for one call. It must be longer
	// than the call.
	Lease time.Duration
	// EventDelay is how long after a submission the gateway's events may still lack it.
	EventDelay time.Duration
	Schedule   pollsched.Schedule
	// MaxWait is the deadline of an order that names none. MaxWaitLimit is the longest
	// deadline.
	MaxWait, MaxWaitLimit time.Duration
	// SubmitMaxWait bounds Record.Waited.
	SubmitMaxWait time.Duration
	// KeepAfter is the age at which the record of a waiting order is written again, so that the
	// ledger does not remove it.
	KeepAfter time.Duration
	// OnLostReply is Hold or Resubmit.
	OnLostReply string
	// OnRollback is Lookup, Hold or Resubmit. It applies to orders whose last record is lost.
	OnRollback string
	// ApprovalNever says that the gateway issues at once or not at all. So an order that its
	// events do not show was not created.
	ApprovalNever bool
	// Audited writes decisions with an effect outside to the audit trail.
	Audited bool
}

const (
	// maxResubmissions bounds the submissions of one generation after an indeterminate one,
	// whatever OnLostReply says.
	maxResubmissions = 2
	// lastPolls is how many polls at or after the deadline may get no answer before the order
	// expires.
	lastPolls = 5
	// An accepted order ends only after the gateway refused noesToEnd polls over at least
	// noTime: a burst of refusals is an outage.
	noesToEnd = 3
	noTime    = 15 * time.Minute
	// tooEarly is how much before its time a due message may come and still be handled.
	tooEarly = time.Second
)

// Early reports whether a due message came too early to be handled. The caller then measures
// the server's time again before the decision: the server's clock may have been set.
func (w *Wakeup) Early(now time.Time) bool { return w.Due.Sub(now) > tooEarly }

// Codes of results that the machine itself sets.
const (
	CodeLostReply  = "lost_reply"        // the submission is indeterminate
	CodeLostRecord = "lost_record"       // indeterminate, since the bus lost the record of the order
	CodeMalformed  = "unreadable_answer" // the gateway's answer was malformed
	CodeInvalid    = "invalid_request"
	CodeResolved   = "resolved" // an operator found that nothing was issued
)

// Machine decides what becomes of an order. It is pure: times and jitter are arguments, and it
// keeps no state. The zero value is not usable; set Settings. It is safe for concurrent use.
type Machine struct{ Settings }

// Decide says what to do about an event. cur is the record of the order in the ledger. now is
// the server's time. jitter, in [0, 1), spreads the waits.
//
// The caller carries out the effects in the order of Steps, makes the call, and returns with
// its answer. When StepRecord meets another writer, the caller reads the record again and
// decides the same event on it. When the call must not be made now, the caller carries out
// nothing and decides Deferred.
func (m *Machine) Decide(now time.Time, jitter float64, key Key, cur Stored, ev Event) Decision {
	d := decider{Machine: m, now: now, jitter: jitter, key: key, cur: cur}
	out := d.decide(ev)
	if m.Audited {
		out.Audit = d.audit(ev, &out)
	}
	return out
}

func (d *decider) decide(ev Event) Decision {
	switch e := ev.(type) {
	case Delivered:
		return d.delivered(e)
	case Woken:
		return d.woken(e)
	case Answered:
		return d.answered(e)
	case Deferred:
		return d.deferred(e)
	case Cancelled:
		return d.cancelled(e)
	case Targeted:
		return d.targeted(e)
	case Poisoned:
		return d.poisoned(e)
	case ByHand:
		return d.byHand(e)
	case Oversized:
		return d.oversized(e)
	}
	panic("order: unknown event")
}

// decider is one decision under way.
type decider struct {
	*Machine
	now     time.Time
	jitter  float64
	key     Key
	cur     Stored
	remains Remains
	request func() *Request
}

// asked returns the request of the order, with a Problem when it cannot be read.
func (d *decider) asked() *Request {
	if d.request != nil {
		if q := d.request(); q != nil {
			return q
		}
	}
	return &Request{Key: d.key, Kind: d.cur.Kind, Problem: errNoRequest}
}

// ack ends the handling of a message whose effect already exists.
func ack(n Notice) Decision { return Decision{Settle: Settle{Verb: Ack}, Notice: n} }

// wait schedules a wake-up for the order in r, and writes r if it changed.
func (d *decider) wait(r Record, after time.Duration, polls int, n Notice) Decision {
	w := d.wakeup(r, d.now.Add(after), polls)
	n.Wait = after
	out := Decision{Wakeup: w, Settle: Settle{Verb: Ack}, Notice: n}
	out.Record = d.changed(r)
	return out
}

// changed returns r if it differs from the stored record, else nil.
func (d *decider) changed(r Record) *Record {
	if d.cur.Revision != 0 && reflect.DeepEqual(r, d.cur.Record) {
		return nil
	}
	return &r
}

func (d *decider) wakeup(r Record, due time.Time, polls int) *Wakeup {
	w := &Wakeup{
		Key: d.key, Kind: r.Kind, Lane: laneOf(r), Phase: r.Phase, Generation: r.Generation, Due: due.UTC(), Deadline: r.Deadline,
		Polls: polls, RequestedAt: r.RequestedAt, TrackingID: r.TrackingID, Request: r.Request,
	}
	if w.Request == nil {
		w.Request = d.asked().Raw
	}
	return w
}

// keepsRequest returns r with the request in it, so that the ledger alone can restore the
// order.
func (d *decider) keepsRequest(r Record) Record {
	if r.Request == nil {
		r.Request = d.asked().Raw
	}
	return r
}

// retryWait is the wait after n answers in a row that decided nothing.
func (d *decider) retryWait(n int, retryAfter time.Duration) time.Duration {
	far := d.now.Add(100 * 365 * 24 * time.Hour)
	at, _ := d.Schedule.NextAt(max(n-1, 0), d.now, far, retryAfter, d.jitter)
	return at.Sub(d.now)
}

// deadline is the order's deadline, but at most MaxWaitLimit after the record was stored:
// another host's clock may be wrong.
func (d *decider) deadline() time.Time {
	if last := d.cur.At.Add(d.MaxWaitLimit); !d.cur.At.IsZero() && last.Before(d.cur.Deadline) {
		return last
	}
	return d.cur.Deadline
}

// settled is when a look-up can decide about the last submission. A call that began late lasts
// until the lease ends.
func (d *decider) settled(r Record) time.Time {
	submitted := r.SubmittedAt
	if !d.cur.At.IsZero() && d.cur.At.Before(submitted) {
		submitted = d.cur.At // a worker's clock was ahead: the submission cannot be later than its record
	}
	return submitted.Add(d.Lease + d.EventDelay)
}
