package order

import (
	"reflect"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/pollsched"
)

// What an order of unknown fate becomes where looking it up decides nothing. Lookup is of
// Settings.OnRollback only.
const (
	Lookup   = "lookup"   // looked up where the gateway can; held where that decides nothing
	Hold     = "hold"     // a result `unconfirmed` and a dead letter; an operator decides
	Resubmit = "resubmit" // another submission, flagged as a possible duplicate
)

// Settings are what decisions depend on beside record and event. All are required.
type Settings struct {
	// Worker is the name under which this worker owns submitting orders.
	Worker string
	// CAID and ProfileID are what requests that name none are submitted with.
	CAID, ProfileID string
	// Lease is how long a worker owns an order for one call: longer than the call.
	Lease time.Duration
	// EventDelay is how long after a submission the gateway's events may still miss it.
	EventDelay time.Duration
	Schedule   pollsched.Schedule
	// MaxWait is the deadline of an order that names none, MaxWaitLimit the longest.
	MaxWait, MaxWaitLimit time.Duration
	// SubmitMaxWait bounds Record.Waited.
	SubmitMaxWait time.Duration
	// KeepAfter is the age at which a record that only waits is written again, so that
	// the ledger does not let it go.
	KeepAfter time.Duration
	// OnLostReply is Hold or Resubmit.
	OnLostReply string
	// OnRollback is Lookup, Hold or Resubmit: for orders whose last record is lost.
	OnRollback string
	// ApprovalNever says that the gateway issues at once or not at all, so that an order
	// which its events do not show was not created.
	ApprovalNever bool
	// Audited has decisions with an effect outside written to the audit trail.
	Audited bool
}

const (
	// maxResubmissions bounds how often one generation is submitted after a submission
	// of unknown fate, whatever OnLostReply says.
	maxResubmissions = 2
	// lastPolls is how many polls at or after the deadline may stay without an answer
	// before their order expires.
	lastPolls = 5
	// noesToEnd and noTime are how many polls, over how long, the gateway must answer
	// with a no before an order that it had accepted ends: a burst is an outage.
	noesToEnd = 3
	noTime    = 15 * time.Minute
	// tooEarly is how much before its time a wake-up may come and still count as due.
	tooEarly = time.Second
)

// Early reports whether a wake-up came too early to be handled. The caller measures the
// server's time again then, before it has the wake-up decided: the server's clock may have
// been set since it was measured.
func (w *Wakeup) Early(now time.Time) bool { return w.Due.Sub(now) > tooEarly }

// Codes of results that the machine makes itself.
const (
	CodeLostReply  = "lost_reply"        // the fate of the submission is unknown
	CodeLostRecord = "lost_record"       // so it is, since the bus lost the record of the order
	CodeMalformed  = "unreadable_answer" // the gateway's answer could not be read
	CodeInvalid    = "invalid_request"
	CodeResolved   = "resolved" // an operator says that nothing was issued
)

// Machine decides what becomes of an order. It is pure: instants and jitter are
// arguments, and it keeps nothing. The zero value is of no use; fill in Settings.
// Safe for concurrent use.
type Machine struct{ Settings }

// Decide says what to do about an event. cur is the record of the order as the ledger
// holds it. now is the server's time; jitter, in [0, 1), spreads the waits.
//
// The caller carries out the effects in the order of Steps, then makes the call and
// comes back with its answer. Where StepRecord meets another writer, it reads the
// record again and decides the same event on it. Where the call must not be made now,
// it carries out nothing and decides Deferred.
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

// asked returns the request of the order, with a Problem where it cannot be read.
func (d *decider) asked() *Request {
	if d.request != nil {
		if q := d.request(); q != nil {
			return q
		}
	}
	return &Request{Key: d.key, Kind: d.cur.Kind, Problem: errNoRequest}
}

// ack ends the handling of a message whose effect stands already.
func ack(n Notice) Decision { return Decision{Settle: Settle{Verb: Ack}, Notice: n} }

// wait gives the order in r a wake-up after a while, writing r where it changed.
func (d *decider) wait(r Record, after time.Duration, polls int, n Notice) Decision {
	w := d.wakeup(r, d.now.Add(after), polls)
	n.Wait = after
	out := Decision{Wakeup: w, Settle: Settle{Verb: Ack}, Notice: n}
	out.Record = d.changed(r)
	return out
}

// changed returns r where it is not the record that is stored.
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

// keepsRequest returns r with the request in it, so that the ledger alone can bring
// the order back.
func (d *decider) keepsRequest(r Record) Record {
	if r.Request == nil {
		r.Request = d.asked().Raw
	}
	return r
}

// retryWait is the wait after n answers in a row that told nothing.
func (d *decider) retryWait(n int, retryAfter time.Duration) time.Duration {
	far := d.now.Add(100 * 365 * 24 * time.Hour)
	at, _ := d.Schedule.NextAt(max(n-1, 0), d.now, far, retryAfter, d.jitter)
	return at.Sub(d.now)
}

// deadline is the order's, capped: the instant that a record holds is believed only so
// far as a worker may have set it.
func (d *decider) deadline() time.Time {
	if last := d.cur.At.Add(d.MaxWaitLimit); !d.cur.At.IsZero() && last.Before(d.cur.Deadline) {
		return last
	}
	return d.cur.Deadline
}

// settled is when a look-up can tell what became of the last submission. A call that
// its worker was slow to begin lasts until the lease ends.
func (d *decider) settled(r Record) time.Time {
	submitted := r.SubmittedAt
	if !d.cur.At.IsZero() && d.cur.At.Before(submitted) {
		submitted = d.cur.At // a worker's clock is ahead: the record cannot be older than its submission
	}
	return submitted.Add(d.Lease + d.EventDelay)
}
