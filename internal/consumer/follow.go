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

var errBeingSubmitted = errors.New("the order may be under way to the gateway; it can be cancelled once that has answered")

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
	case target.rec.State == ledger.Open && (target.rec.Posting || len(target.rec.Answer) > 0 || target.rec.Request == nil),
		target.rec.State == ledger.Parked && target.rec.Posting:
		return later(cancelWait(d.deliveries), errBeingSubmitted)
	}
	if target.rec.State != ledger.Closed {
		switch err := w.cancelWaiting(ctx, target); {
		case errors.Is(err, ledger.ErrConflict):
			return later(cancelWait(1), errBeingSubmitted)
		case err != nil:
			return err
		}
	}
	if target.rec.Outcome != entrustbus.OutcomeCancelled {
		return w.finish(ctx, o, o.failed(&w.cfg, entrustbus.ClassValidation, "too_late", "order: ended as "+string(target.rec.Outcome)+" before it could be cancelled"), "", "")
	}
	return w.finish(ctx, o, o.result(entrustbus.OutcomeCancelled, &w.cfg), "", "")
}

// cancelWait is how long a cancellation rests after its n-th delivery found its
// order under way.
func cancelWait(deliveries uint64) time.Duration {
	return min(time.Second<<min(deliveries, 6), time.Minute)
}

// cancelWaiting ends an order as cancelled that is parked, or that the gateway did
// not take, unless it ended otherwise in the same moment: the result that was
// published first says which.
//
// An order that was not taken may be in a worker's hand, which writes that it calls
// before it does so. The answer is written first: from then on that write fails,
// and the worker finds the order ended when its message comes again.
func (w *Worker) cancelWaiting(ctx context.Context, t *order) error {
	t.kind, t.replay, t.requestedAt, t.raw = t.rec.Kind, t.rec.Replay, t.rec.RequestedAt, t.rec.Request
	if t.raw == nil {
		t.raw = &ledger.Request{}
	}
	if err := w.read(t); err != nil {
		w.log.WarnContext(ctx, "cancelling an order whose request cannot be read", t.logArgs("err", err)...)
	}
	// The header may name a generation that is not the one in force.
	t.replay = t.rec.Replay
	// What no gateway has yet may be submitted any moment, by whoever wakes it up.
	if !t.rec.Awaits() {
		r := t.result(entrustbus.OutcomeCancelled, &w.cfg)
		var err error
		if t.rec.Answer, err = entrustbus.EncodeResult(entrustbus.EncodingMsgpack, r); err != nil {
			return fmt.Errorf("encoding the result of %s: %w", t.key, err)
		}
		t.rec.Worker, t.rec.Lease = "", time.Time{}
		if t.rec.State == ledger.Open {
			t.rec.Request = nil
		}
		if err := w.update(ctx, t, "claiming an order to cancel it"); err != nil {
			return err
		}
		edge("kept")
		return w.finish(ctx, t, r, "", "")
	}
	if slot, err := w.lot.Slot(ctx, t.key); err == nil && slot != nil {
		t.polls = slot.Attempt
	}
	return w.finish(ctx, t, t.result(entrustbus.OutcomeCancelled, &w.cfg), "", "")
}
