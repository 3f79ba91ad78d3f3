package consumer

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/throttle"
)

// Operators suspend by these lanes. Requests and due messages of one kind are one lane for
// them, though each has a consumer of its own.
const (
	laneIssue    = "issue"
	laneResubmit = "resubmit"
	laneRevoke   = "revoke"
	lanePoll     = "poll"
	laneManage   = "manage"
)

// scope is the call that an order would make at a CA, as suspensions see it.
func (h *handling) scope(ca string) throttle.Scope {
	s := throttle.Scope{Producer: h.key.Producer, CA: ca}
	if h.d != nil {
		s.Lane = h.d.lane
	}
	return s
}

// suspended puts a new order off while an operator suspended its calls: in a wake-up it does
// not take the place of others, as a request that comes back to the stream does.
func (h *handling) suspended(r order.Record, out *order.Verdict) {
	if r.Phase != "" {
		return // it has a wake-up, and Deferred puts that off
	}
	cause, wait := h.w.throttle.stops.Suspended(h.scope(r.CAID))
	if cause == nil {
		return
	}
	wait += time.Duration(rand.Float64() * float64(wait) / 4) // they do not come back together
	if wait > out.After {
		out.After, out.Waits = wait, cause.Error()
	}
}

// suspended takes in what the control bucket says is suspended, and logs what changed.
func (t *throttling) suspended(all []control.Suspension) {
	stops := make([]throttle.Suspension, len(all))
	for i, s := range all {
		stops[i] = throttle.Suspension{Scope: throttle.Scope(s.Scope), About: s.About(), Age: s.Age}
	}
	t.stops.Suspend(stops)
	same := func(s control.Suspension) func(control.Suspension) bool {
		return func(o control.Suspension) bool { return o.Scope == s.Scope && o.Since.Equal(s.Since) }
	}
	for _, s := range t.known {
		if !slices.ContainsFunc(all, same(s)) {
			t.log.Info("resumed: calls are made again", "scope", s.Scope.String())
		}
	}
	for _, s := range all {
		if !slices.ContainsFunc(t.known, same(s)) {
			t.log.Warn("suspended by an operator: calls wait until it is resumed", "scope", s.Scope.String(), "operator", s.Operator, "reason", s.Reason, "since", s.Since)
		}
	}
	t.known = all
	t.metrics.Suspended(all)
	select {
	case <-t.learned:
	default:
		close(t.learned)
	}
}

// awaitSuspensions waits until the control bucket said what is suspended: a worker that does
// not know yet makes no call. It returns the cause of ctx where that ends first.
func (t *throttling) awaitSuspensions(ctx context.Context) error {
	slow := time.NewTimer(ackTimeout)
	defer slow.Stop()
	for {
		select {
		case <-t.learned:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-slow.C:
			t.log.Warn("waiting for the control bucket: it says what operators suspended, and no order is begun before")
		}
	}
}
