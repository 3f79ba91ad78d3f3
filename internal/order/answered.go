package order

import (
	"fmt"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// answered decides about the answer to a call. The record may have changed during the call:
// another worker took the order over, or a cancellation ended it.
func (d *decider) answered(e Answered) Decision {
	d.remains, d.request = e.Remains, e.Request
	c, a := e.Call, &e.Answer
	switch {
	case d.cur.Phase == "":
		return Decision{Settle: Settle{Verb: Return, After: time.Second}, Notice: Notice{Level: Warn, Text: "the ledger lost an order during its call"}}
	case d.cur.Generation != c.Generation, d.cur.Phase == Closed:
		return ack(late(a))
	case d.cur.Phase == Concluded:
		out := d.publish(d.cur.Record)
		out.Notice = late(a)
		return out
	}
	if d.remains.Forgotten && (c.Op == OpEnroll || c.Op == OpLookUp) && !a.definite() && d.cur.Phase != Awaiting {
		return d.forgotten(d.cur.Record)
	}
	switch c.Op {
	case OpEnroll:
		return d.enrolled(c, a)
	case OpRevoke:
		return d.revoked(c, a)
	case OpPoll:
		if d.cur.Phase == Awaiting {
			return d.polled(c, a)
		}
	case OpLookUp:
		// The look-up covers no submission that another worker made meanwhile.
		if d.cur.Phase == Indeterminate && d.cur.Submissions == c.Submission {
			return d.lookedUp(a)
		}
	}
	return d.resume(false)
}

// late is the log line of an answer that came after the end of its order.
func late(a *Answer) Notice {
	if a.Certificate == nil {
		return Notice{Level: Debug, Text: "an answer came after the order ended"}
	}
	return Notice{Level: Warn, Text: "a certificate came after the order ended", Cause: "serial " + a.Certificate.Serial}
}

// ours reports whether the record is still the one under which the call was made.
func (d *decider) ours(c Call) bool {
	return d.cur.Phase == Submitting && d.cur.Owner == c.Owner && d.cur.Submissions == c.Submission
}

// definite reports whether an answer says what became of the submission. It then counts,
// whatever another worker has decided meanwhile.
func (a *Answer) definite() bool {
	switch a.Word {
	case Issued, Pending, Declined, Revoked, Wrong, Refused:
		return true
	case Malformed:
		return a.TrackingID != ""
	}
	return false
}

// enrolled decides about the answer to a submission.
func (d *decider) enrolled(c Call, a *Answer) Decision {
	ours := d.ours(c)
	if !ours && !(a.definite() && (d.cur.Phase != Awaiting || a.Word == Issued)) {
		return d.resume(false)
	}
	r := d.cur.Record
	if !ours && (r.Phase == Submitting || r.Phase == Awaiting || r.Submissions > c.Submission) {
		r.PossibleDuplicate = true // another worker submitted meanwhile
	}
	switch a.Word {
	case NotAccepted:
		return d.retryUnaccepted(r, a)
	case NoAnswer, Malformed:
		if a.TrackingID != "" {
			// The tracking id could be read, so the order can be polled.
			return d.parkForApproval(r, a.TrackingID, a.RetryAfter, Notice{Level: Warn, Text: "the gateway's answer is malformed; polling by its tracking id", Cause: message(a)})
		}
		code := CodeLostReply
		if a.Word == Malformed {
			code = CodeMalformed
		}
		r = d.indeterminate(r, &entrustbus.ResultError{Class: a.Error.Class, Code: code, Message: a.Error.Message, HTTPStatus: a.Error.HTTPStatus})
		r.Tries, r.Waited = 0, 0
		return d.lookUp(r)
	}
	return d.taken(r, a, Notice{Level: Info, Text: "waiting for approval"})
}

// taken decides about an answer that says what became of an order at the gateway.
func (d *decider) taken(r Record, a *Answer, n Notice) Decision {
	if a.TrackingID != "" {
		r.TrackingID = a.TrackingID
	}
	if q := d.asked(); q.Problem != nil {
		d.cur.Record = r
		return d.unreadable(q)
	}
	switch a.Word {
	case Issued:
		return d.succeed(r, entrustbus.OutcomeIssued, a.Certificate)
	case Pending:
		return d.parkForApproval(r, r.TrackingID, a.RetryAfter, n)
	case Declined:
		return d.conclude(r, entrustbus.OutcomeRejected, a.Error, Rejected)
	case Wrong:
		out := d.conclude(r, entrustbus.OutcomeFailed, a.Error, WrongCertificate)
		out.Record.Conclusion.Result.Serial = a.Serial
		out.Notice = Notice{Level: Error, Text: "the gateway issued a wrong certificate: revoke it", Cause: "serial " + a.Serial + ": " + message(a)}
		return out
	case WrongCSR:
		return d.conclude(r, entrustbus.OutcomeFailed, a.Error, Invalid)
	}
	return d.conclude(r, entrustbus.OutcomeFailed, a.Error, Rejected)
}

// retryUnaccepted makes an order wait whose call the gateway provably did not accept, until
// SubmitMaxWait.
func (d *decider) retryUnaccepted(r Record, a *Answer) Decision {
	if !a.Written {
		r.Submissions--
	}
	r = d.keepsRequest(r.to(Unaccepted))
	r.Cause = a.Error
	r.Tries++
	wait := d.retryWait(r.Tries, a.RetryAfter)
	if r.Waited >= d.SubmitMaxWait {
		e := *a.Error
		e.Message = fmt.Sprintf("not accepted within %s: %s", d.SubmitMaxWait, e.Message)
		if r.PossibleDuplicate {
			return d.conclude(r, entrustbus.OutcomeUnconfirmed, &e, Unconfirmed)
		}
		return d.conclude(r, entrustbus.OutcomeFailed, &e, Rejected)
	}
	wait = min(wait, max(d.SubmitMaxWait-r.Waited, time.Second))
	r.Waited += wait
	return d.wait(r, wait, 0, Notice{Level: Warn, Text: "the gateway did not accept the order; trying again", Cause: message(a)})
}

// revoked decides about the answer to a revocation. A revocation may be repeated: the gateway
// answers a second one like the first.
func (d *decider) revoked(c Call, a *Answer) Decision {
	if !d.ours(c) && !a.definite() {
		return d.resume(false)
	}
	r := d.cur.Record
	switch a.Word {
	case Revoked:
		return d.succeed(r, entrustbus.OutcomeRevoked, a.Certificate)
	case NotAccepted:
		return d.retryUnaccepted(r, a)
	case NoAnswer, Malformed:
		r = d.keepsRequest(r.to(Indeterminate))
		r.Cause = a.Error
		r.Tries++
		if r.Waited >= d.SubmitMaxWait {
			return d.conclude(r, entrustbus.OutcomeUnconfirmed, a.Error, Unconfirmed)
		}
		wait := min(d.retryWait(r.Tries, a.RetryAfter), max(d.SubmitMaxWait-r.Waited, time.Second))
		r.Waited += wait
		return d.wait(r, wait, 0, Notice{Level: Warn, Text: "a revocation is not confirmed; trying again", Cause: message(a)})
	}
	return d.conclude(r, entrustbus.OutcomeFailed, a.Error, Rejected)
}

// polled decides about the answer to a poll.
func (d *decider) polled(c Call, a *Answer) Decision {
	r, polls := d.cur.Record, c.Polls+1
	last := c.Last || !d.now.Before(d.deadline())
	switch a.Word {
	case Pending:
		if last {
			return d.expire(r, polls, "")
		}
		r.Tries, r.Noes, r.NoSince = 0, 0, time.Time{}
		return d.nextPoll(r, polls, a.RetryAfter, Notice{Level: Debug, Text: "still pending", Cause: a.Status})
	case NotAccepted:
		// This was no poll, since the gateway did not accept the call. An outage expires no
		// order.
		return d.wait(r, d.retryWait(3, a.RetryAfter), c.Polls, Notice{Level: Debug, Text: "the gateway did not accept a poll; trying again", Cause: message(a)})
	case NoAnswer, Malformed:
		return d.unanswered(r, c, polls, last, a)
	case Refused, NotFound:
		return d.no(r, polls, last, a)
	}
	out := d.taken(r, a, Notice{})
	out.polls(polls)
	return out
}

// unanswered makes an order wait whose poll got no usable answer. At the deadline, lastPolls of
// them expire the order.
func (d *decider) unanswered(r Record, c Call, polls int, last bool, a *Answer) Decision {
	n := Notice{Level: Warn, Text: "a poll was not answered; asking again", Cause: message(a)}
	if a.Word == Malformed {
		n.Text = "the answer to a poll is malformed; asking again"
	}
	if !last {
		return d.nextPoll(r, polls, a.RetryAfter, n)
	}
	r.Tries++
	if r.Tries >= lastPolls {
		why := "; the last poll was not answered"
		if a.Word == Malformed {
			why = "; the answer to the last poll is malformed: " + message(a)
		}
		return d.expire(r, polls, why)
	}
	return d.wait(r, d.retryWait(r.Tries, a.RetryAfter), polls, n)
}

// no decides about a poll of an accepted order that the gateway refused. One refusal ends
// nothing: a lagging replica, or an outage, refuses the polls of all orders.
func (d *decider) no(r Record, polls int, last bool, a *Answer) Decision {
	if r.Noes == 0 {
		r.NoSince = d.now.UTC()
	}
	r.Noes++
	switch {
	case last:
		return d.expire(r, polls, "; the gateway answered "+message(a))
	case r.Noes >= noesToEnd && d.now.Sub(r.NoSince) >= noTime && a.OthersAnswered:
		out := d.conclude(r, entrustbus.OutcomeUnconfirmed, a.Error, Unconfirmed)
		out.polls(polls)
		return out
	}
	return d.nextPoll(r, polls, a.RetryAfter, Notice{Level: Warn, Text: "the gateway refused a poll; asking again", Cause: message(a)})
}

// expire ends an order that was not approved before its deadline. The result has its tracking
// id: a track request takes the order over without a new enrollment.
func (d *decider) expire(r Record, polls int, more string) Decision {
	e := &entrustbus.ResultError{
		Class: entrustbus.ClassTimeout, Code: "deadline",
		Message: "no approval before the deadline " + d.deadline().Format(time.RFC3339) + more,
	}
	out := d.conclude(r, entrustbus.OutcomeExpired, e, Expired)
	out.polls(polls)
	return out
}

func message(a *Answer) string {
	if a.Error == nil {
		return a.Status
	}
	return a.Error.Message
}
