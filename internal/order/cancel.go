package order

import (
	"fmt"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// cancelled decides about an order that a cancellation is to end. It writes the end first: then
// a worker that is about to submit the order cannot write its own record. While a call may be
// under way, the order continues and the cancellation waits.
func (d *decider) cancelled(e Cancelled) Decision {
	d.remains, d.request = e.Remains, e.Request
	var out Decision
	switch d.cur.Phase {
	case Unaccepted, Awaiting:
		if d.cur.Kind != entrustbus.KindIssue && d.cur.Kind != entrustbus.KindTrack {
			return Decision{}
		}
		if d.cur.Phase == Unaccepted && d.remains.Forgotten {
			return Decision{} // it may have been accepted: its wake-up looks it up
		}
		out = d.conclude(d.cur.Record, entrustbus.OutcomeCancelled, nil, "")
	case Concluded:
		out = d.publish(d.cur.Record)
	}
	out.Settle = Settle{} // the message belongs to the cancellation
	return out
}

// targeted ends a cancellation according to its target, or makes it wait.
func (d *decider) targeted(e Targeted) Decision {
	d.request = e.Request
	if d.cur.Phase.Ended() {
		return d.resume(false)
	}
	r, t := d.cur.Record, e.Target
	fail := func(code, why string) Decision {
		return d.conclude(r, entrustbus.OutcomeFailed, &entrustbus.ResultError{Class: entrustbus.ClassValidation, Code: code, Message: "order: " + why}, "")
	}
	switch {
	case t.Phase == "":
		return fail("no_such_order", "no order of this id is known; name the id that it was sent under")
	case t.Kind != entrustbus.KindIssue && t.Kind != entrustbus.KindTrack:
		// Two cancellations that name each other would wait for ever.
		return fail("not_cancellable", fmt.Sprintf("is a %s request, which does not wait; name an issue or track request", t.Kind))
	case t.Phase == Closed && t.Outcome == entrustbus.OutcomeCancelled:
		return d.conclude(r, entrustbus.OutcomeCancelled, nil, "")
	case t.Phase == Closed:
		return fail("too_late", "ended as "+string(t.Outcome)+" before it could be cancelled")
	case r.Waited >= d.SubmitMaxWait:
		return fail("too_late", fmt.Sprintf("its submission was still indeterminate after %s", d.SubmitMaxWait))
	}
	r.Tries++
	wait := min(time.Second<<min(r.Tries, 6), time.Minute)
	r.Waited += wait
	return d.wait(r, wait, 0, Notice{Level: Debug, Text: "the order may be under way to the gateway; cancelling it later"})
}
