package order

import (
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// woken decides about a due message. The record says whether the order still waits: a due
// message may come twice, or after the end.
func (d *decider) woken(e Woken) Decision {
	d.remains, d.request = e.Remains, e.Request
	w := &e.Wakeup
	if early := w.Due.Sub(d.now); early > tooEarly {
		// The server that fires has a different clock than the measured one. Wait that much
		// longer by the clock of that server. At Due, which has passed there, it would fire at
		// once, again and again.
		again := *w
		if !e.Fired.IsZero() {
			again.At = e.Fired.Add(early).UTC()
		}
		return Decision{Wakeup: &again, Settle: Settle{Verb: Ack}, Notice: Notice{Level: Warn, Text: "a wake-up came early: the clocks of two servers differ", Wait: early}}
	}
	if d.cur.Phase == "" || w.Generation > d.cur.Generation {
		if s := d.remains.Result; s != nil && s.Replay >= w.Generation {
			return ack(Notice{})
		}
		d.cur = Stored{Record: d.recordOfWakeup(w), Revision: d.cur.Revision}
		out := d.wokenTo(w)
		if out.Record == nil && !out.Close {
			r := d.cur.Record
			out.Record = &r
		}
		return out
	}
	if w.Generation < d.cur.Generation {
		// Its worker scheduled it late, and it may have replaced the wake-up of the generation
		// in force.
		return d.resume(false)
	}
	return d.wokenTo(w)
}

func (d *decider) wokenTo(w *Wakeup) Decision {
	if s := d.remains.Result; s != nil && s.Replay >= d.cur.Generation {
		return d.resume(false)
	}
	if d.cur.Phase != Awaiting {
		return d.resume(w.Observed != 0 && w.Observed == d.cur.Revision)
	}
	// The server fires by its own clock. If ours is behind, the order would be parked again at
	// a deadline that has passed there, and be woken at once.
	last := !w.Due.Before(d.deadline())
	return Decision{Call: &Call{Op: OpPoll, Generation: d.cur.Generation, Polls: w.Polls, Last: last}}
}

// deferred decides about a call that may not be made now. An order without a record goes back
// to its stream; any other order waits in a wake-up.
func (d *decider) deferred(e Deferred) Decision {
	d.request = e.Request
	after := max(e.For, time.Second)
	after += time.Duration(d.jitter * float64(after) / 4) // orders of one breaker must not return together
	n := Notice{Level: Debug, Text: "the call must wait", Wait: after}
	switch by := e.By.(type) {
	case Woken:
		w := by.Wakeup
		w.Due = d.now.Add(after).UTC()
		if w.Request == nil {
			w.Request = d.asked().Raw
		}
		return Decision{Wakeup: &w, Settle: Settle{Verb: Ack}, Notice: n}
	case Delivered:
		if d.cur.Phase == "" || d.cur.Phase.Ended() {
			return Decision{Settle: Settle{Verb: Return, After: after}, Notice: n}
		}
	}
	w := d.wakeup(d.cur.Record, d.now.Add(after), 0)
	return Decision{Wakeup: w, Settle: Settle{Verb: Ack}, Notice: n}
}

// parkForApproval parks an order that the gateway has. Its deadline counts from here.
func (d *decider) parkForApproval(r Record, trackingID string, retryAfter time.Duration, n Notice) Decision {
	q := d.asked()
	r = d.keepsRequest(r.to(Awaiting))
	r.TrackingID, r.Tries, r.Waited = trackingID, 0, 0
	wait := q.maxWait()
	if wait <= 0 {
		wait = d.MaxWait
	}
	r.Deadline = d.now.Add(min(wait, d.MaxWaitLimit)).UTC()
	d.cur.At = time.Time{} // this worker set the deadline
	d.cur.Deadline = r.Deadline
	out := d.nextPoll(r, 0, retryAfter, n)
	out.Record = &r
	return out
}

// nextPoll schedules the next wake-up of an awaiting order.
func (d *decider) nextPoll(r Record, polls int, retryAfter time.Duration, n Notice) Decision {
	at, _ := d.Schedule.NextAt(polls, d.now, d.deadline(), retryAfter, d.jitter)
	out := d.wait(r, at.Sub(d.now), polls, n)
	if out.Record == nil && d.now.Sub(d.cur.At) > d.KeepAfter && !d.cur.At.IsZero() {
		out.Record = &r
	}
	return out
}

// replayed decides about the next generation of an order.
func (d *decider) replayed(q *Request) Decision {
	step, refusal := ReplayOf(d.cur.Record)
	switch {
	case d.cur.Phase == Concluded:
		// An operator may see the result before the record is closed.
		return Decision{Settle: Settle{Verb: Return, After: time.Second}, Notice: Notice{Level: Debug, Text: "a replay waits for the end of its order"}}
	case refusal != "":
		return ack(Notice{Level: Warn, Text: "ignoring a replay", Cause: string(refusal)})
	}
	if q.Problem != nil {
		return d.invalid(d.next(q, ReplaySubmit), q)
	}
	r := d.next(q, step)
	if step == ReplayResume {
		return d.parkForApproval(r, r.TrackingID, 0, Notice{Level: Info, Text: "waiting for approval again"})
	}
	if d.remains.Forgotten && r.Kind == entrustbus.KindIssue {
		return d.forgotten(r)
	}
	return d.begin(r)
}

// next returns the first record of the next generation of a closed order.
func (d *decider) next(q *Request, step Replay) Record {
	old := d.cur.Record
	r := d.resolved(Record{
		Kind: old.Kind, Generation: q.Generation, Digest: old.Digest, Origin: q.Ref, RequestedAt: q.Ref.Time,
		// An earlier duplicate stays possible.
		PossibleDuplicate: old.PossibleDuplicate || step == ReplayResubmit,
		unknown:           old.unknown,
	}, q)
	if step == ReplayResume {
		r.CAID, r.ProfileID = old.CAID, old.ProfileID
		r.TrackingID, r.Submissions, r.SubmittedAt = old.TrackingID, old.Submissions, old.SubmittedAt
		r.PossibleDuplicate = old.PossibleDuplicate
	}
	return r
}
