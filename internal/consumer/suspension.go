package consumer

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/audit"
	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/throttle"
)

// Operators suspend these lanes. To operators, the requests of a kind and the due messages that
// repeat them are one lane. Each has its own consumer: a suspended request must not continue on
// the other one.
const (
	laneIssue  = "issue"
	laneRevoke = "revoke"
	lanePoll   = "poll"
	laneManage = "manage"
)

// scope is the scope of the call that an order would make at a CA, for suspensions.
func (h *handling) scope(ca string) throttle.Scope {
	s := throttle.Scope{Producer: h.key.Producer, CA: ca}
	if h.d != nil {
		s.Lane = h.d.lane.of
	}
	return s
}

// suspended parks a new order while an operator suspended its calls. In a wake-up it does not
// delay other orders, as a request that goes back to the stream would.
func (h *handling) suspended(r order.Record, out *order.Verdict) {
	if r.Phase != "" {
		return // it has a wake-up, which Deferred reschedules
	}
	wait, cause := h.w.throttle.stops.Suspended(h.scope(r.CAID))
	if cause == nil {
		return
	}
	wait += time.Duration(rand.Float64() * float64(wait) / 4) // so that orders do not return together
	if wait > out.After {
		out.After, out.Waits = wait, cause.Error()
	}
}

// Suspend stops all calls of a scope in the fleet. It writes to the audit trail first. The
// error is an *entrustbus.FieldError when the operator's order is invalid.
func (w *Worker) Suspend(ctx context.Context, s *entrustbus.Suspension) (*entrustbus.Suspended, error) {
	scope := control.Scope{Lane: s.Lane, Producer: s.Producer, CA: s.CAID}
	if err := w.recordStop(ctx, audit.DecisionSuspended, scope, s); err != nil {
		return nil, err
	}
	stands, added, err := w.control.Suspend(ctx, control.Suspension{Scope: scope, Operator: s.Operator, Reason: s.Reason})
	if errors.Is(err, control.ErrTooManySuspensions) {
		return nil, &entrustbus.FieldError{Field: "all", Problem: err.Error()}
	}
	if err != nil {
		return nil, err
	}
	return &entrustbus.Suspended{Changed: added, About: stands.About(), Since: stands.Since}, nil
}

// Resume ends the suspension of a scope. It writes to the audit trail first. Errors are those
// of Suspend.
func (w *Worker) Resume(ctx context.Context, s *entrustbus.Suspension) (*entrustbus.Suspended, error) {
	scope := control.Scope{Lane: s.Lane, Producer: s.Producer, CA: s.CAID}
	if err := w.recordStop(ctx, audit.DecisionResumed, scope, s); err != nil {
		return nil, err
	}
	was, removed, err := w.control.Resume(ctx, scope)
	if err != nil {
		return nil, err
	}
	if !removed {
		was.Scope = scope
	}
	return &entrustbus.Suspended{Changed: removed, About: was.About(), Since: was.Since}, nil
}

// recordStop checks an operator's order, and writes it to the audit trail.
func (w *Worker) recordStop(ctx context.Context, decision string, scope control.Scope, s *entrustbus.Suspension) error {
	if err := scope.Validate(); err != nil {
		return &entrustbus.FieldError{Field: "lane, producer or ca_id", Problem: err.Error()}
	}
	if w.audit == nil {
		return nil
	}
	return w.audit.Append(ctx, "", &audit.Record{Decision: decision, Operator: text(s.Operator), Reason: text(s.Reason), Is: scope.String()})
}

// suspended applies the suspensions of the control bucket, and logs changes.
func (t *throttling) suspended(all []control.Suspension) {
	stops := make([]throttle.Suspension, len(all))
	for i, s := range all {
		stops[i] = throttle.Suspension{Scope: throttle.Scope(s.Scope), About: s.Why(), Age: s.Age}
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

// awaitSuspensions waits until this worker has read the suspensions from the control bucket:
// before that it makes no call. It returns the cause of ctx when ctx ends first.
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
			t.log.Warn("waiting for the control bucket: it holds the suspensions of operators, and no order begins before they are read")
		}
	}
}
