package watchdog

import (
	"context"
	"fmt"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// Scan reads once what waits and what was written, schedules what is stuck or lost, and
// removes due messages that the server will never deliver: each would count as parked for
// ever. An order that cannot be woken does not keep others from being; they are counted in
// the log. The error is one of the bus.
func (w *Watchdog) Scan(ctx context.Context) (Repairs, error) {
	r := new(repairing)
	err := w.scan(ctx, r)
	if r.failed > 0 {
		w.Log.WarnContext(ctx, "orders that could not be woken; trying again with a later scan", "orders", r.failed, "err", r.first)
	}
	return r.repairs, err
}

// scan reads wake-ups, then records from each cursor, then a slice of all records.
func (w *Watchdog) scan(ctx context.Context, r *repairing) error {
	begun := time.Now()
	// Ages are worth nothing where the server's clock was set since the last measurement.
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
	// One that fails again and again must not look as if the watchdog were well.
	if err := w.scanWhole(ctx, r, e, &whole); err != nil {
		return err
	}
	finish(&recent, fresh && again, time.Since(begun))
	return w.Control.SaveScan(ctx, control.ScanRecent, &recent)
}

// scanWhole reads the next slice of all records, where the last scan of all is over for a
// day, or under way.
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

// finish says in the record of a scan whether it ended.
func finish(s *control.Scan, done bool, took time.Duration) {
	ago, ever := s.Ended()
	s.Complete, s.Before, s.Took = done, 0, took
	if !done && ever {
		s.Before = max(ago, 1)
	}
}

// extents says which streams are compared, and how far they count.
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

// cursors reads how far the scans came. Where the cursors mean nothing, all that was
// written before is left to a scan of every record, which begins now.
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
