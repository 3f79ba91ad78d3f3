package timeline

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/order"
)

// waits sets the sentence that says why the order waits. An obstacle comes first.
func (t *telling) waits(ctx context.Context) {
	f := &t.story.Facts
	if f.Phase == order.Closed || f.Phase == "" && t.waiting == nil {
		return
	}
	why := t.step()
	if t.Obstacles != nil {
		all, err := t.Obstacles(ctx)
		if err != nil {
			t.note("the obstacles of the order cannot be read: %v", err)
		}
		if held := heldUp(f, all, t.now); held != "" {
			why = held + "; " + why
		}
	}
	f.Waits = why
}

// step describes the step that the order waits for, without obstacles.
func (t *telling) step() string {
	f, next := &t.story.Facts, ""
	switch {
	case !f.NextWakeup.IsZero() && f.NextWakeup.After(t.now):
		next = "at " + instant(f.NextWakeup)
	case f.Phase.Waits():
		next = "now: its wake-up is due"
	}
	switch f.Phase {
	case "":
		return fmt.Sprintf("the request waits in stream %s since %s for a worker, behind %s of the producer",
			t.Layout.Requests, instant(t.waiting.since), count(t.waiting.before, string(t.waiting.kind)+" request"))
	case order.Submitting:
		if t.now.After(f.LeaseUntil) {
			return fmt.Sprintf("the lease of worker %s ended at %s; another worker takes the order over", f.Owner, instant(f.LeaseUntil))
		}
		return fmt.Sprintf("worker %s may be calling the gateway, under a lease until %s", f.Owner, instant(f.LeaseUntil))
	case order.Unaccepted:
		if t.rec.Cause != nil && t.rec.Cause.Code == order.CodeQuota {
			return "the submission is deferred: the producer's requests a minute are used up; next try " + next
		}
		if t.rec.Cause != nil && t.rec.Cause.Code == order.CodeSuspended {
			return "the submission is deferred: " + t.rec.Cause.Message + "; next try " + next
		}
		return fmt.Sprintf("the gateway did not accept the order (%s); next try %s", t.cause(), next)
	case order.Indeterminate:
		if f.Kind == entrustbus.KindCancel {
			return "waits for the order that it cancels; next look " + next
		}
		return fmt.Sprintf("the gateway's answer was lost (%s); a worker looks the order up %s", t.cause(), next)
	case order.Awaiting:
		return fmt.Sprintf("awaiting approval at the gateway; next poll %s, deadline %s", next, instant(f.Deadline))
	case order.Concluded:
		return "the outcome is known; a worker publishes the result"
	}
	return ""
}

func (t *telling) cause() string {
	if t.rec.Cause == nil {
		return "no cause is recorded"
	}
	return problem(t.rec.Cause)
}

// operation returns the gateway operation that the order needs next, "" for none.
func (f *Facts) operation() string {
	switch {
	case f.Kind == entrustbus.KindCancel || f.Phase.Ended():
		return ""
	case f.Kind == entrustbus.KindRevoke:
		return "revoke"
	case f.Phase == order.Awaiting || f.Kind == entrustbus.KindTrack:
		return "poll"
	case f.Phase == order.Indeterminate:
		return "lookup"
	}
	return "enroll"
}

// lane returns the lane that handles the order next, in the names of suspensions.
func (f *Facts) lane() string {
	switch {
	case f.Kind == entrustbus.KindRevoke:
		return "revoke"
	case f.Kind == entrustbus.KindCancel:
		return "manage"
	case f.Phase == order.Awaiting:
		return "poll"
	case f.Kind == entrustbus.KindTrack:
		return "manage"
	}
	return "issue"
}

// applies reports whether an obstacle delays this order. An order that no worker has
// begun may use the configured CA, which the reader does not know: then a breaker of any
// CA applies.
func (o *Obstacle) applies(f *Facts) bool {
	fits := func(have, want string) bool { return have == "" || have == want }
	operation := f.operation()
	switch o.Kind {
	case NoWorker:
		return true
	case Pause, NoGateway:
		return operation != ""
	case Breaker:
		return operation != "" && fits(o.Operation, operation) && (f.CAID == "" || fits(o.CA, f.CAID))
	}
	return fits(o.Producer, f.Producer) && fits(o.Lane, f.lane()) && (o.CA == "" || o.CA == f.CAID)
}

// heldUp describes the obstacle of the order, "" for none. It prefers the obstacle that
// remains if the others end.
func heldUp(f *Facts, all []Obstacle, now time.Time) string {
	for _, kind := range []ObstacleKind{NoWorker, Suspension, NoGateway, Pause, Breaker} {
		for i := range all {
			if o := &all[i]; o.Kind == kind && o.applies(f) {
				return o.sentence(now)
			}
		}
	}
	return ""
}

func (o *Obstacle) sentence(now time.Time) string {
	var b strings.Builder
	switch o.Kind {
	case Suspension:
		fmt.Fprintf(&b, "suspended by %s", cmp.Or(o.By, "an operator"))
		for _, scope := range [][2]string{{"lane", o.Lane}, {"producer", o.Producer}, {"CA", o.CA}} {
			if scope[1] != "" {
				fmt.Fprintf(&b, ", %s %s", scope[0], scope[1])
			}
		}
	case NoWorker:
		b.WriteString("no worker is running")
	case NoGateway:
		b.WriteString("no worker can call the gateway")
	case Pause:
		b.WriteString("the gateway asked the fleet to pause")
	default:
		fmt.Fprintf(&b, "the breaker is open for %s at CA %s", cmp.Or(o.Operation, "every operation"), cmp.Or(o.CA, "any"))
	}
	if !o.Since.IsZero() {
		b.WriteString(" since " + instant(o.Since))
	}
	if o.Why != "" {
		b.WriteString(" (" + o.Why + ")")
	}
	switch {
	case o.Next.IsZero():
	case o.Kind == Breaker && o.Next.After(now):
		b.WriteString(", next canary at " + instant(o.Next))
	case o.Kind == Breaker:
		b.WriteString(", next canary with the next call")
	default:
		b.WriteString(" until " + instant(o.Next))
	}
	return b.String()
}

func instant(t time.Time) string { return t.UTC().Format(time.RFC3339) }
