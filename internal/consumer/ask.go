package consumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/throttle"
)

// ID is the name of this worker's process.
func (w *Worker) ID() string { return w.id }

// Dialect is the gateway's dialect, gateway.DialectAuto before the gateway has answered.
func (w *Worker) Dialect() gateway.Dialect { return w.gw.Dialect() }

// GatewayProblem returns why this worker does not call the gateway now, or nil. The text is one
// line for producers.
func (w *Worker) GatewayProblem() error { return w.throttle.problem() }

// CAKnown returns nil when requests may name this CA; "" is the configured one. They may when
// the gateway lists the CA, or when its list cannot be read. The error is an
// *entrustbus.FieldError, or says why the worker may not ask the gateway.
func (w *Worker) CAKnown(ctx context.Context, ca string) error {
	if ca == "" || ca == w.cfg.CAID {
		return nil
	}
	if lists, _ := w.cas.lists(ca); lists {
		return nil
	}
	if err := w.throttle.problem(); err != nil {
		return err
	}
	return w.cas.refuses(ctx, ca)
}

// CA returns the certificates of a CA, "" being the configured one, for a query outside of any
// order. It uses a recent answer without a call. While the worker may not ask the gateway, it
// uses an older answer. Errors are those of CAKnown, gateway.ErrNoCertificates, and those of a
// call.
func (w *Worker) CA(ctx context.Context, ca string) (gateway.CA, error) {
	ca = cmp.Or(ca, w.cfg.CAID)
	known, fresh, ok := w.gw.KnownCA(ca)
	if fresh {
		return known, nil
	}
	err := w.CAKnown(ctx, ca)
	if err == nil {
		var read gateway.CA
		if read, err = w.readCA(ctx, ca); err == nil {
			return read, nil
		}
	}
	if _, refused := errors.AsType[*entrustbus.FieldError](err); ok && !refused {
		return known, nil
	}
	return gateway.CA{}, err
}

// Order returns the phase of an order and why it waits. The error wraps entrustbus.ErrNoOrder
// when the ledger has no record of it.
func (w *Worker) Order(ctx context.Context, producer, id string) (*entrustbus.OrderStatus, error) {
	r, err := w.ledger.Get(ctx, order.Key{Producer: producer, ID: id})
	if err != nil && !errors.Is(err, order.ErrNewerFormat) {
		return nil, err
	}
	if r.Phase == "" {
		return nil, fmt.Errorf("reading the order %s.%s: %w", producer, id, entrustbus.ErrNoOrder)
	}
	return &entrustbus.OrderStatus{
		ID: id, Kind: r.Kind, Phase: entrustbus.Phase(r.Phase), Waits: w.waits(producer, r), CAID: r.CAID, ProfileID: r.ProfileID, TrackingID: r.TrackingID,
		Submissions: r.Submissions, RequestedAt: r.RequestedAt, UpdatedAt: r.At, Deadline: r.Deadline,
		Outcome: r.Outcome, Serial: r.Serial, Replay: r.Generation, Policy: policyName(r.PolicyDigest),
	}, nil
}

// waits says in one line for producers why an order waits, "" when it does not wait.
func (w *Worker) waits(producer string, r order.Stored) string {
	if !r.Phase.Waits() {
		return ""
	}
	lane := laneIssue
	switch {
	case r.Kind == entrustbus.KindRevoke:
		lane = laneRevoke
	case r.Kind == entrustbus.KindCancel:
		lane = laneManage
	case r.Phase == order.Awaiting:
		lane = lanePoll
	}
	if _, cause := w.throttle.stops.Of(throttle.Scope{Lane: lane, Producer: producer, CA: r.CAID}); cause != nil {
		return cause.Error()
	}
	switch {
	case r.Phase == order.Awaiting:
		return "awaiting approval at the gateway"
	case r.Cause != nil && r.Cause.Message != "":
		return r.Cause.Message
	case r.Kind == entrustbus.KindCancel:
		return "waiting for the order that it cancels"
	}
	return ""
}

// readCA asks the gateway unless a pause or an outage forbids it. The answer does not count for
// the breaker of any operation.
func (w *Worker) readCA(ctx context.Context, ca string) (gateway.CA, error) {
	if err := w.throttle.problem(); err != nil {
		return gateway.CA{}, err
	}
	if err := w.throttle.rate.Wait(ctx, throttle.ForPoll); err != nil {
		return gateway.CA{}, err
	}
	read, err := w.gw.CA(ctx, ca)
	if wait := pauseOf(err); wait > 0 {
		w.throttle.askedToPause(ctx, wait, err)
	}
	return read, err
}

// errNotReached names no cause: that may be about the files of the worker.
var errNotReached = errors.New("no probe of the gateway succeeds; the log of the worker says why")

// problem returns why this worker may not call the gateway at all, or nil.
func (t *throttling) problem() error {
	if ready, cause := t.prober.Ready(); !ready {
		if e, ok := errors.AsType[*gateway.Error](cause); ok {
			return e
		}
		return errNotReached
	}
	_, cause := t.stops.Of(throttle.Scope{})
	return cause
}
