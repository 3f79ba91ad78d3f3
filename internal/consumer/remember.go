package consumer

import (
	"context"
	"errors"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/ledger"
)

var errForgotten = errors.New("the ledger lost its record of the order, which may have been submitted")

// remember looks for what a redelivered request without a record may have left
// elsewhere. Mostly it left nothing: it was handed back before its record was
// written. But the ledger may have been lost since, and then a result, or a slot,
// says what the record would, and gives it back. Where neither does, lost says
// whether the bucket is younger than the request, so that a record of it may have
// been there: what that said, nobody knows.
func (w *Worker) remember(ctx context.Context, d *delivery, o *order) (lost bool, err error) {
	_, err = w.ledger.Get(ctx, o.key)
	if !errors.Is(err, ledger.ErrNoRecord) {
		return false, err
	}
	r, _, err := w.lastResult(ctx, o.key)
	if err != nil {
		return false, err
	}
	if r != nil {
		w.log.WarnContext(ctx, "the ledger lost an order; restoring it from its result", o.logArgs("outcome", string(r.Outcome))...)
		err := w.ledger.Create(ctx, o.key, &ledger.Record{
			State: ledger.Closed, Kind: r.Kind, Digest: o.digest, Replay: r.Replay, RequestedAt: r.RequestedAt,
			SubmittedAt: r.SubmittedAt, Submissions: r.Submissions, PossibleDuplicate: r.PossibleDuplicate,
			TrackingID: r.TrackingID, Outcome: r.Outcome, Serial: r.Serial,
		})
		if err != nil && !errors.Is(err, ledger.ErrConflict) {
			return false, err
		}
	} else if err := w.fromSlot(ctx, o); err != nil {
		return false, err
	}
	made, err := w.ledger.Made(ctx)
	return d.published.Before(made), err
}

// fromSlot restores the record of an order that is parked.
func (w *Worker) fromSlot(ctx context.Context, o *order) error {
	armed, err := w.lot.Armed(ctx, o.key, o.replay)
	if err != nil || !armed {
		return err
	}
	slot, err := w.lot.Slot(ctx, o.key)
	if err != nil || slot == nil || slot.Replay < o.replay {
		return later(2*time.Second, errForgotten) // its wake-up is in hand, and restores the record
	}
	parked := &order{key: slot.Key, replay: slot.Replay, kind: slot.Kind, raw: slot.Request}
	if _, err = w.restore(ctx, parked, slot); errors.Is(err, ledger.ErrConflict) {
		return nil // its wake-up was faster
	}
	return err
}

// doubt makes an order whose record was just written one of unknown fate. Whoever
// had the lost record may still be at it, for as long as a lease lasts.
func (w *Worker) doubt(ctx context.Context, d *delivery, o *order) error {
	wait := w.cfg.lease() + w.cfg.EventDelay
	o.rec.Worker, o.rec.Lease, o.rec.SubmittedAt = "", time.Now().UTC().Add(wait), d.published
	w.log.WarnContext(ctx, "an order's fate is unknown", o.logArgs("wait", wait, "err", errForgotten)...)
	if err := w.update(ctx, o, "recording that an order's fate is unknown"); err != nil {
		return err
	}
	return later(wait, errForgotten)
}
