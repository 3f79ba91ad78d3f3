package watchdog

import (
	"context"
	"fmt"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// Scan runs one scan. It reads every wake-up, and the records that were written since the
// cursors. It schedules wake-ups that are stuck or lost. It removes due messages that the
// server will never deliver, which would count as parked for ever. An order that cannot be
// woken does not stop the scan; the log counts such orders. An error is one of the bus.
func (w *Watchdog) Scan(ctx context.Context) (Repairs, error) {
	r := new(repairing)
	err := w.scan(ctx, r)
	if r.failed > 0 {
		w.Log.WarnContext(ctx, "orders could not be woken; a later scan tries again", "orders", r.failed, "err", r.first)
	}
	return r.repairs, err
}

// scan reads the wake-ups, then records from each cursor, then a part of all records.
func (w *Watchdog) scan(ctx context.Context, r *repairing) error {
	begun := time.Now()
	// A record's age is wrong if the server's clock was set after the last measurement.
	if err := w.Control.MeasureClock(ctx); err != nil {
		return err
	}
	e, err := w.extents(ctx)
	if err != nil {
		return err
	}
	recent, whole, err := w.cursors(ctx, e)
	if err != nil {
		return err
	}
	recent.Parked, recent.Oldest, recent.Waiting, recent.NextDue = e.wakeups.Last, 0, new(control.Waiting), nil
	recent.Every = w.Every
	if err := r.during(ctx, func() error { return w.scanWakeups(r, e.wakeups.Last, &recent) }); err != nil {
		return err
	}
	fresh, err := w.scanRecords(ctx, r, &recent.Cursor, e.ledger.Last, w.old())
	if err != nil {
		return err
	}
	again, err := w.scanRecords(ctx, r, &recent.Lagging, e.ledger.Last, max(longestWait, w.old()))
	if err != nil {
		return err
	}
	// Save the result only after scanWhole: a scan that always fails must not look healthy.
	if err := w.scanWhole(ctx, r, e, &whole); err != nil {
		return err
	}
	finish(&recent, fresh && again, time.Since(begun))
	return w.Control.SaveScan(ctx, control.ScanRecent, &recent)
}

// scanWhole reads the next part of all records, when the last scan of all records ended a day
// ago or is still running.
func (w *Watchdog) scanWhole(ctx context.Context, r *repairing, e extents, whole *control.Scan) error {
	begun, took := time.Now(), whole.Took
	if ago, _ := whole.Ended(); whole.Complete {
		if ago < wholeEvery {
			return nil
		}
		whole.Cursor, took = 0, 0
	}
	done, err := w.scanRecords(ctx, r, &whole.Cursor, e.ledger.Last, w.old())
	if err != nil {
		return err
	}
	finish(whole, done, took+time.Since(begun))
	return w.Control.SaveScan(ctx, control.ScanFull, whole)
}

// finish notes in the state of a scan whether it is complete.
func finish(s *control.Scan, done bool, took time.Duration) {
	ago, ever := s.Ended()
	s.Complete, s.Before, s.Took = done, 0, took
	if !done && ever {
		s.Before = max(ago, 1)
	}
}

// extents identifies the ledger and the wake-up stream, and holds their last sequences.
type extents struct {
	source          string
	ledger, wakeups streams.Extent
}

func (w *Watchdog) extents(ctx context.Context) (e extents, err error) {
	if e.ledger, err = w.Ledger.Extent(ctx); err != nil {
		return e, err
	}
	e.wakeups, err = w.Wakeups.Extent(ctx)
	e.source = fmt.Sprintf("%s.%d %s.%d", w.Layout.Orders, e.ledger.Made.UnixNano(), w.Layout.Parked, e.wakeups.Made.UnixNano())
	return e, err
}

// cursors reads how far the scans have come. When the cursors are invalid, a scan of all
// records starts now and covers what was written before.
func (w *Watchdog) cursors(ctx context.Context, e extents) (recent, whole control.Scan, err error) {
	if recent, err = w.Control.ReadScan(ctx, control.ScanRecent); err != nil {
		return recent, whole, err
	}
	if whole, err = w.Control.ReadScan(ctx, control.ScanFull); err != nil {
		return recent, whole, err
	}
	lost := e.ledger.Last < max(recent.Cursor, whole.Cursor) || e.wakeups.Last < recent.Parked
	if !lost && recent.Source == e.source && whole.Source == e.source {
		return recent, whole, nil
	}
	if !lost && recent.Source == e.source {
		whole = control.Scan{Source: e.source, Revision: whole.Revision} // its record was deleted
		return recent, whole, nil
	}
	now := w.now()
	since := func(age time.Duration) (uint64, error) {
		first, err := w.Ledger.Since(ctx, now.Add(-age))
		if first == 0 {
			return e.ledger.Last, err
		}
		return first - 1, err
	}
	recent = control.Scan{Source: e.source, Revision: recent.Revision}
	whole = control.Scan{Source: e.source, Revision: whole.Revision}
	if recent.Cursor, err = since(w.old()); err != nil {
		return recent, whole, err
	}
	recent.Lagging, err = since(max(longestWait, w.old()))
	return recent, whole, err
}
