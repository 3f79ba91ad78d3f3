package order

import (
	"errors"
	"fmt"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

var (
	errNoRequest = errors.New("neither record nor wake-up holds the request")
	errForgotten = errors.New("the ledger lost its record of the order, which may have been submitted")
)

const workerDied = "a worker ended before it saw the gateway's answer"

// delivered decides about a request message.
func (d *decider) delivered(e Delivered) Decision {
	q := e.Request
	d.remains, d.request = e.Remains, func() *Request { return &q }
	if q.Key.ID == "" || q.Key.Producer == "" {
		return d.letterOnly(&q, q.reason(), q.Problem.Error())
	}
	restored := d.restore(&q)
	switch {
	case d.cur.Phase == "":
		return d.fresh(&q)
	case !q.of(d.cur.Record):
		return d.rejectDuplicateID(&q)
	case q.Generation < d.cur.Generation:
		return ack(Notice{})
	case q.Generation > d.cur.Generation:
		return d.replayed(&q)
	}
	if w := d.remains.Wakeup; w != nil && !restored && d.cur.Phase.Waits() && w.Generation >= d.cur.Generation && d.remains.Result == nil {
		return ack(Notice{}) // it has its wake-up, which a repeated request must not delay
	}
	out := d.resume(false)
	if restored && out.Record == nil && !out.Close {
		r := d.cur.Record
		out.Record = &r
	}
	return out
}

// restore rebuilds a record that the ledger lost, from what the bus holds of the order.
func (d *decider) restore(q *Request) bool {
	if d.cur.Phase != "" {
		return false
	}
	revision := d.cur.Revision
	switch r, w := d.remains.Result, d.remains.Wakeup; {
	case r != nil:
		d.cur = Stored{Record: recordOfResult(r, q), Revision: revision}
	case w != nil && w.Generation >= q.Generation:
		d.cur = Stored{Record: d.recordOfWakeup(w), Revision: revision}
	default:
		return false
	}
	return true
}

// recordOfResult builds the record that a published result shows.
func recordOfResult(r *entrustbus.Result, q *Request) Record {
	return Record{
		Kind: r.Kind, Digest: q.Digest, RequestedAt: r.RequestedAt, SubmittedAt: r.SubmittedAt, Submissions: r.Submissions,
		PossibleDuplicate: r.PossibleDuplicate, CAID: r.CAID, ProfileID: r.ProfileID,
	}.Closed(r)
}

// recordOfWakeup builds the record that a wake-up shows. Without a tracking id the order may
// still have been submitted: only the lost record knew.
func (d *decider) recordOfWakeup(w *Wakeup) Record {
	r := Record{
		Kind: w.Kind, Generation: w.Generation, RequestedAt: w.RequestedAt, SubmittedAt: d.now, Submissions: 1,
		TrackingID: w.TrackingID, CAID: d.CAID, ProfileID: d.ProfileID, Request: w.Request,
	}
	if r.RequestedAt.IsZero() {
		// An order that is not accepted waits for at most SubmitMaxWait, so the request is no
		// older than that.
		r.RequestedAt = d.now.Add(-d.SubmitMaxWait)
	}
	if q := d.asked(); q.Digest != nil {
		r.Digest = q.Digest
		r = d.resolved(r, q)
	}
	if w.TrackingID != "" {
		r = r.to(Awaiting)
		r.Deadline = w.Deadline
		return r
	}
	r = r.to(Indeterminate)
	r.Cause = recordLost()
	return r
}

func lost(why string) *entrustbus.ResultError {
	return &entrustbus.ResultError{Class: entrustbus.ClassNetwork, Code: CodeLostReply, Message: why}
}

func recordLost() *entrustbus.ResultError {
	return &entrustbus.ResultError{Class: entrustbus.ClassNetwork, Code: CodeLostRecord, Message: errForgotten.Error()}
}

// forgotten continues an order whose last record may be lost. r is the known record; the order
// may have been submitted after it. The owner of the lost record may still begin its call, for
// as long as a lease, and its answer counts until then.
func (d *decider) forgotten(r Record) Decision {
	r = d.keepsRequest(r.to(Indeterminate))
	r.SubmittedAt, r.Cause = d.now.UTC(), recordLost()
	return d.wait(r, d.Lease+d.EventDelay, 0, Notice{Level: Warn, Text: "an order is indeterminate", Cause: r.Cause.Message})
}

// fresh begins an order without a record.
func (d *decider) fresh(q *Request) Decision {
	r := d.resolved(Record{
		Kind: q.Kind, Generation: q.Generation, Digest: q.Digest, Origin: q.Ref, RequestedAt: q.Ref.Time,
	}, q)
	if q.Problem != nil {
		return d.invalid(r, q)
	}
	if d.remains.Forgotten && q.Kind == entrustbus.KindIssue {
		return d.forgotten(r)
	}
	return d.begin(r)
}

// resolved returns r with the CA and profile that the order uses.
func (d *decider) resolved(r Record, q *Request) Record {
	if q.Kind == entrustbus.KindCancel {
		return r
	}
	r.CAID, r.ProfileID = q.CA()
	if r.CAID == "" {
		r.CAID = d.CAID
	}
	if r.ProfileID == "" && q.Kind == entrustbus.KindIssue {
		r.ProfileID = d.ProfileID
	}
	return r
}

// begin takes the first step of a generation.
func (d *decider) begin(r Record) Decision {
	switch r.Kind {
	case entrustbus.KindTrack, entrustbus.KindCancel:
		if r.Phase != "" {
			break // the policy was asked when it began
		}
		if v := d.verdict(&r); v.Denied != "" {
			return d.deny(r, v)
		}
	}
	switch r.Kind {
	case entrustbus.KindTrack:
		if b, ok := d.asked().Body.(*entrustbus.Track); ok {
			r.TrackingID = b.TrackingID
		}
		return d.parkForApproval(r, r.TrackingID, 0, Notice{Level: Info, Text: "waiting for approval"})
	case entrustbus.KindCancel:
		r = d.keepsRequest(r.to(Indeterminate))
		return Decision{Record: d.changed(r), Call: &Call{Op: OpTarget, Generation: r.Generation}}
	}
	return d.submit(r)
}

// submit writes that a call is about to be made, and returns the call, if the policy allows the
// order.
func (d *decider) submit(r Record) Decision {
	if d.judged(r) {
		switch v := d.verdict(&r); {
		case v.Denied != "":
			return d.deny(r, v)
		case v.After > 0 && r.Phase == "":
			return d.deferOrder(r, v)
		}
	}
	r = r.to(Submitting)
	r.Owner, r.Lease = d.Worker, d.Lease
	r.Submissions++
	r.SubmittedAt = d.now.UTC()
	op := OpEnroll
	if r.Kind == entrustbus.KindRevoke {
		op = OpRevoke
	}
	return Decision{Record: &r, Call: &Call{Op: op, Generation: r.Generation, Owner: r.Owner, Submission: r.Submissions}}
}

// resume continues the generation in force. A message or a wake-up of it came, or an answer met
// a record of another worker. observed says that the revision stayed the same for a whole
// lease.
func (d *decider) resume(observed bool) Decision {
	if s := d.remains.Result; s != nil && s.Replay >= d.cur.Generation && d.cur.Phase != Closed {
		return Decision{Close: true, Stands: s, Unwake: d.cur.Request != nil, Settle: Settle{Verb: Ack}}
	}
	switch d.cur.Phase {
	case Closed:
		return ack(Notice{})
	case Concluded:
		return d.publish(d.cur.Record)
	case Awaiting:
		// A worker crashed between the record and its wake-up.
		return d.nextPoll(d.cur.Record, 0, 0, Notice{})
	case Submitting:
		// A revocation may be repeated, whatever its owner does. Its message stays in the
		// stream, so that its deliveries identify a poison message.
		if d.cur.Kind != entrustbus.KindRevoke && !d.cur.leaseOver(d.now, observed) {
			return d.waitForLease()
		}
	}
	// A malformed answer means that the order was accepted. It is not submitted again, whatever
	// was lost.
	if d.remains.Forgotten && d.cur.Kind == entrustbus.KindIssue && (d.cur.Phase != Indeterminate || d.cur.Cause.Code != CodeMalformed) {
		return d.forgotten(d.cur.Record)
	}
	q := d.asked()
	if q.Problem != nil {
		return d.unreadable(q)
	}
	switch {
	case d.cur.Phase == Unaccepted, d.cur.Kind == entrustbus.KindRevoke:
		return d.submit(d.cur.Record)
	case d.cur.Kind == entrustbus.KindCancel:
		return d.begin(d.cur.Record)
	case d.cur.Phase == Submitting:
		return d.lookUp(d.indeterminate(d.cur.Record, lost(workerDied)))
	}
	return d.lookUp(d.cur.Record)
}

// waitForLease schedules a wake-up at the end of the owner's order lease, and acknowledges the
// message. The wake-up remains if the owner dies.
func (d *decider) waitForLease() Decision {
	left := d.cur.leaseLeft(d.now) + 100*time.Millisecond
	w := d.wakeup(d.cur.Record, d.now.Add(left), 0)
	if left >= d.cur.Lease {
		w.Observed = d.cur.Revision
	}
	return Decision{Wakeup: w, Settle: Settle{Verb: Ack}, Notice: Notice{Level: Debug, Text: "waiting for another worker's lease", Wait: left}}
}

// unreadable ends an order whose request can no longer be read: a newer worker is stricter, or
// nothing holds the request.
func (d *decider) unreadable(q *Request) Decision {
	e := &entrustbus.ResultError{Class: entrustbus.ClassValidation, Code: CodeInvalid, Message: q.Problem.Error()}
	if d.cur.Phase == Unaccepted && !d.cur.PossibleDuplicate {
		return d.conclude(d.cur.Record, entrustbus.OutcomeFailed, e, q.reason())
	}
	e.Class = entrustbus.ClassOther
	out := d.conclude(d.cur.Record, entrustbus.OutcomeUnconfirmed, e, Unconfirmed)
	out.Reconciled = "held"
	return out
}

// invalid ends a request that breaks the contract.
func (d *decider) invalid(r Record, q *Request) Decision {
	e := &entrustbus.ResultError{Class: entrustbus.ClassValidation, Code: CodeInvalid, Message: q.Problem.Error()}
	return d.conclude(r, entrustbus.OutcomeFailed, e, q.reason())
}

func (q *Request) reason() Reason {
	if q.undecodable() {
		return Undecodable
	}
	return Invalid
}

// rejectDuplicateID ends a request whose id belongs to another request. The result of the first
// request stays in force, so this one gets only a dead letter.
func (d *decider) rejectDuplicateID(q *Request) Decision {
	why := &entrustbus.FieldError{
		Field: "id", Problem: fmt.Sprintf("was used before, by another %s request", d.cur.Kind),
		Fix: "send every request under an id of its own",
	}
	return d.letterOnly(q, Invalid, why.Error())
}

// letterOnly ends a message that gets no result, since none could be addressed.
func (d *decider) letterOnly(q *Request, reason Reason, why string) Decision {
	l := letterOf(q, reason, why)
	l.ID = fmt.Sprintf("%s.%d.%d.%s", q.Kind, q.Ref.Sequence, q.Ref.Time.UnixNano(), reason)
	out := Decision{Letter: l, Settle: Settle{Verb: AckSure}, Notice: Notice{Level: Warn, Text: "refusing a request", Cause: why}}
	if q.Kind != "" && !q.Operator {
		out.Refusal = &entrustbus.Refusal{
			Version: entrustbus.Version, Producer: q.Key.Producer, Kind: q.Kind, ID: q.Key.ID, Sequence: q.Ref.Sequence,
			Reason: string(reason), Message: why, RefusedAt: d.now.UTC(),
		}
	}
	return out
}
