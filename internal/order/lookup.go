package order

import "github.com/entrust-worker/entrust-worker/entrustbus"

// indeterminate returns the submitting record r as an indeterminate one. Its submission then
// counts from the time at which the server stored r: a slow worker may have called after that
// write.
func (d *decider) indeterminate(r Record, cause *entrustbus.ResultError) Record {
	r = d.keepsRequest(r.to(Indeterminate))
	r.Cause = cause
	r.SubmittedAt = d.now.UTC()
	if !d.cur.At.IsZero() {
		r.SubmittedAt = d.cur.At.UTC()
	}
	return r
}

// lookUp finds out what became of an indeterminate submission. r is the indeterminate record.
func (d *decider) lookUp(r Record) Decision {
	n := Notice{Level: Warn, Text: "an order is indeterminate; looking it up", Cause: r.Cause.Message}
	forgotten := r.Cause.Code == CodeLostRecord
	looks := d.remains.CanLookUp && (!forgotten || d.OnRollback == Lookup)
	// The worker that had the lost record may still write its answer.
	if wait := d.settled(r).Sub(d.now); wait > 0 && (looks || forgotten) {
		return d.wait(r, wait, 0, n)
	}
	if !looks {
		return d.unfound(r)
	}
	since := r.SubmittedAt
	if forgotten {
		since = r.RequestedAt
		if at := d.remains.LostSince; !at.IsZero() && at.Before(since) {
			since = at
		}
	}
	return Decision{Record: d.changed(r), Call: &Call{Op: OpLookUp, Generation: r.Generation, Submission: r.Submissions, Since: since}, Notice: n}
}

// repeatable reports whether an indeterminate order may be submitted again.
func (r Record) repeatable() bool {
	return r.Resubmissions < maxResubmissions && (r.Cause.Code == CodeLostReply || r.Cause.Code == CodeLostRecord)
}

// lookedUp decides about the answer to a look-up.
func (d *decider) lookedUp(a *Answer) Decision {
	r := d.cur.Record
	switch a.Word {
	case NoMatch:
		if d.ApprovalNever && r.repeatable() {
			return d.resubmit(r, false)
		}
		return d.unfound(r)
	case Refused, NotFound, Malformed, Unsearchable:
		return d.unfound(r) // a repetition would get the same answer
	case NotAccepted, NoAnswer:
		r.Tries++
		wait := d.retryWait(r.Tries, a.RetryAfter)
		if r.Waited >= d.SubmitMaxWait {
			return d.unfound(r)
		}
		r.Waited += wait
		return d.wait(r, wait, 0, Notice{Level: Warn, Text: "a look-up was not answered; trying again", Cause: message(a)})
	}
	out := d.taken(r, a, Notice{Level: Info, Text: "waiting for approval"})
	if out.Notice.Level < Error {
		out.Notice = Notice{Level: Warn, Text: "adopted an order whose answer was lost"}
	}
	out.Reconciled = "adopted"
	return out
}

// unfound continues an order when a look-up decides nothing.
func (d *decider) unfound(r Record) Decision {
	onLoss := d.OnLostReply
	if r.Cause.Code == CodeLostRecord {
		onLoss = d.OnRollback
	}
	if onLoss == Resubmit && r.repeatable() {
		return d.resubmit(r, true)
	}
	e := *r.Cause
	if e.Code == CodeMalformed {
		e.Class = entrustbus.ClassOther
	}
	out := d.conclude(r, entrustbus.OutcomeUnconfirmed, &e, Unconfirmed)
	out.Reconciled = "held"
	return out
}

// resubmit submits the order again. flag marks a possible duplicate: the first submission may
// have been accepted.
func (d *decider) resubmit(r Record, flag bool) Decision {
	why := r.Cause.Message
	r = d.keepsRequest(r)
	r.Resubmissions++
	r.PossibleDuplicate = r.PossibleDuplicate || flag
	out := d.submit(r)
	if out.Call == nil {
		return out // the policy now refuses it
	}
	out.Reconciled = "resubmitted"
	out.Notice = Notice{Level: Warn, Text: "submitting an order again", Cause: why}
	return out
}
