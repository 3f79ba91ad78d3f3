package watchdog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/wakeup"
)

// scanWakeups reads the parked stream up to a sequence. It schedules stuck wake-ups again. It
// removes due messages that the server will never deliver, after waking their orders. It writes
// into found how many orders wait, how long the oldest has waited, and when the next is due.
func (w *Watchdog) scanWakeups(r *repairing, last uint64, found *control.Scan) error {
	settled := map[order.Lane]uint64{}
	for _, lane := range order.Lanes() {
		var err error
		if settled[lane], err = w.Wakeups.Settled(r.ctx, lane); err != nil {
			return cause(r.ctx, err)
		}
	}
	for f, err := range slowly(r.ctx, w.Wakeups.All(r.ctx)) {
		switch {
		case f.Sequence > last:
			return nil
		case errors.Is(err, wakeup.ErrNewerFormat):
			continue // the newer workers handle it, and Wakes counts it
		case errors.Is(err, wakeup.ErrNotAWakeup):
			// Such a message must not stop the scan for lost orders.
			w.Log.WarnContext(r.ctx, "the parked stream holds a message that is not a wake-up", "stream", w.Layout.Parked, "err", err)
			continue
		case err != nil:
			return cause(r.ctx, err)
		}
		now := w.now()
		if f.Fired && f.Sequence <= settled[f.Lane] {
			r.do(&r.repairs.Dead, func(ctx context.Context) (bool, error) { return w.removeDead(ctx, r, f.Key, f.Sequence) })
			continue
		}
		if !f.RequestedAt.IsZero() {
			found.Oldest = max(found.Oldest, now.Sub(f.RequestedAt))
		}
		count(found.Waiting, f.Phase)
		if left := f.Due.Sub(now); !f.Fired && (found.NextDue == nil || left < *found.NextDue) {
			found.NextDue = &left
		}
		if f.Fired || now.Sub(f.Due) < overdue {
			continue
		}
		again, sequence := *f.Wakeup, f.Sequence
		// The time must also have passed on the clock of the server that fires, which may be
		// behind ours.
		again.Due, again.At = now.UTC(), f.Stored
		r.do(&r.repairs.Stuck, func(ctx context.Context) (bool, error) { return w.Wakeups.Reschedule(ctx, &again, sequence) })
	}
	return nil
}

// count counts an order that waits.
func count(w *control.Waiting, phase order.Phase) {
	switch phase {
	case order.Awaiting:
		w.Awaiting++
	case order.Unaccepted:
		w.Unaccepted++
	case order.Indeterminate:
		w.Indeterminate++
	default:
		w.Other++
	}
}

// removeDead removes a due message that the server will never deliver. First it wakes the order
// when nothing else does.
func (w *Watchdog) removeDead(ctx context.Context, r *repairing, key order.Key, sequence uint64) (bool, error) {
	revived, err := w.revive(ctx, key)
	if err != nil {
		return false, err
	}
	if revived {
		r.count(&r.repairs.Lost)
	}
	if err := w.Wakeups.Discard(ctx, sequence); err != nil {
		// The message does no harm except that it counts as parked. A later scan tries again.
		w.Log.WarnContext(ctx, "removing a due message that will never be delivered", "err", err)
		return false, nil
	}
	return true, nil
}

// schedule gives an order a wake-up that is due now.
func (w *Watchdog) schedule(ctx context.Context, key order.Key, rec order.Stored, now time.Time) error {
	wake := order.WakeupOf(key, rec.Record, now)
	if w.Polls != nil && rec.Phase == order.Awaiting {
		// The wake-up held the count of polls. Without an estimate, orders that have waited for
		// hours would all be polled as often as new ones.
		wake.Polls = w.Polls(now.Sub(rec.At))
	}
	err := w.Wakeups.Schedule(ctx, wake)
	if streams.IsRefused(err) && wake.Request != nil {
		err = w.Wakeups.Schedule(ctx, wake.Smaller()) // without its request, which alone is large
	}
	return err
}

// hasMessage reports whether the server will still deliver the message of a record. It does not
// deliver a message that the consumer counts as acknowledged, though a killed server may keep
// it.
func (w *Watchdog) hasMessage(ctx context.Context, rec order.Record) (bool, error) {
	if rec.Origin.Sequence == 0 {
		return false, nil
	}
	m, err := streams.At(ctx, w.JS, w.Layout.Requests, rec.Origin.Sequence)
	switch {
	case errors.Is(err, streams.ErrNoMessage):
		return false, nil
	case err != nil:
		return false, err
	case !m.Time.Equal(rec.Origin.Time):
		return false, nil
	}
	name := streams.RequestConsumer(rec.Kind)
	c, err := w.JS.Consumer(ctx, w.Layout.Requests, name)
	if err != nil {
		return false, fmt.Errorf("reading the consumer %s: %w", name, err)
	}
	return m.Sequence > c.CachedInfo().AckFloor.Stream, nil
}
