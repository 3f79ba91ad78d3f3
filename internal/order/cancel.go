package order

import (
	"fmt"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// cancelled decides about an order that a cancellation wants to end. The end is
// written first: a worker that is about to submit the order fails to write that it
// does. While a call may be under way the order goes on, and the cancellation waits.
func (d *decider) cancelled(e Cancelled) Decision {
	d.remains, d.request = e.Remains, e.Request
	var out Decision
	switch d.cur.Phase {
	case Unaccepted, Awaiting:
		if d.cur.Kind != entrustbus.KindIssue && d.cur.Kind != entrustbus.KindTrack {
			return Decision{}
		}
		if d.cur.Phase == Unaccepted && d.remains.Forgotten {
			return Decision{} // it may have been accepted: its wake-up finds out
		}
		out = d.conclude(d.cur.Record, entrustbus.OutcomeCancelled, nil, "")
	case Concluded:
		out = d.publish(d.cur.Record)
	}
	out.Settle = Settle{} // the message is the cancellation's
	return out
}

// targeted ends a cancellation by what became of its target, or has it wait.
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
		// Two cancellations of each other would wait for ever.
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
