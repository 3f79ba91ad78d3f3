package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
)

// track handles a request to wait for an order that was submitted before. It
// never calls the gateway itself: it parks, and the first wake-up comes soon.
func (w *Worker) track(ctx context.Context, d *delivery, o *order, q *entrustbus.Track) error {
	first := w.firstRecord(o, false)
	first.Worker, first.Lease = "", time.Time{}
	verdict, err := w.claim(ctx, d, o, first)
	if err != nil || verdict == settled {
		return err
	}
	return w.await(ctx, o, q.TrackingID, q.PollMaxWaitSeconds, 0)
}

var errBeingSubmitted = errors.New("the order is being submitted; it can be cancelled once it is parked")

// cancel handles a request to stop waiting for an order.
func (w *Worker) cancel(ctx context.Context, d *delivery, o *order, q *entrustbus.Cancel) error {
	first := w.firstRecord(o, false)
	first.Worker, first.Lease = "", time.Time{}
	verdict, err := w.claim(ctx, d, o, first)
	if err != nil || verdict == settled {
		return err
	}
	target := &order{key: ledger.Key{Producer: o.key.Producer, ID: q.Order}, deliveries: d.deliveries}
	target.rec, err = w.ledger.Get(ctx, target.key)
	switch {
	case errors.Is(err, ledger.ErrNoRecord):
		return w.finish(ctx, o, o.failed(&w.cfg, entrustbus.ClassValidation, "no_such_order", "order: no order of this id is known; name the id that it was sent under"), "", "")
	case err != nil:
		return err
	case target.rec.Kind != entrustbus.KindIssue && target.rec.Kind != entrustbus.KindTrack:
		// Two cancellations of each other would wait for ever.
		return w.finish(ctx, o, o.failed(&w.cfg, entrustbus.ClassValidation, "not_cancellable", fmt.Sprintf("order: is a %s request, which does not wait; name an issue or track request", target.rec.Kind)), "", "")
	case target.rec.State == ledger.Open, target.rec.State == ledger.Parked && target.rec.Posting:
		return later(2*time.Second, errBeingSubmitted)
	}
	if target.rec.State == ledger.Parked {
		if err := w.cancelParked(ctx, target); err != nil {
			return err
		}
	}
	if target.rec.Outcome != entrustbus.OutcomeCancelled {
		return w.finish(ctx, o, o.failed(&w.cfg, entrustbus.ClassValidation, "too_late", "order: ended as "+string(target.rec.Outcome)+" before it could be cancelled"), "", "")
	}
	return w.finish(ctx, o, o.result(entrustbus.OutcomeCancelled, &w.cfg), "", "")
}

// cancelParked ends a parked order as cancelled, unless it ended otherwise in
// the same moment: the result that was published first says which.
func (w *Worker) cancelParked(ctx context.Context, t *order) error {
	t.kind, t.replay, t.requestedAt, t.raw = t.rec.Kind, t.rec.Replay, t.rec.RequestedAt, t.rec.Request
	if t.raw == nil {
		t.raw = &ledger.Request{}
	}
	if err := w.read(t); err != nil {
		w.log.WarnContext(ctx, "cancelling an order whose request cannot be read", t.logArgs("err", err)...)
	}
	if slot, err := w.lot.Slot(ctx, t.key); err == nil && slot != nil {
		t.polls = slot.Attempt
	}
	return w.finish(ctx, t, t.result(entrustbus.OutcomeCancelled, &w.cfg), "", "")
}
