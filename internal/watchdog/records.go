package watchdog

import (
	"context"
	"errors"
	"iter"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/wakeup"
)

// checksAtOnce is how many open records a scan checks at once, and the most that it holds.
const checksAtOnce = 64

// seen is a record that a scan read.
type seen struct {
	key        order.Key
	generation int
	revision   uint64
	open       bool // not closed, and no wake-up is scheduled
}

// scanRecords reads the records behind the cursor that were written before last and are older
// than age. It has r wake the orders that nothing else wakes, and moves the cursor. It returns
// false when its time ended first.
func (w *Watchdog) scanRecords(ctx context.Context, r *repairing, cursor *uint64, last uint64, age time.Duration) (done bool, err error) {
	now, end := w.now(), time.Now().Add(w.Every/4)
	err = r.during(ctx, func() error {
		tooNew := func(e ledger.Entry) bool { return e.Revision > last || tooRecent(e.At, now, age) }
		for s, err := range slowly(r.ctx, w.checked(r.ctx, w.Ledger.From(r.ctx, *cursor+1), tooNew)) {
			if err != nil {
				return cause(r.ctx, err)
			}
			if s.open {
				r.do(&r.repairs.Lost, func(ctx context.Context) (bool, error) { return w.revive(ctx, s.key) })
			}
			if *cursor = s.revision; w.Every > 0 && time.Now().After(end) {
				return nil
			}
		}
		done = true
		return nil
	})
	return done, err
}

// old is the age from which the worker of a record no longer acts: its order lease has ended,
// and its wake-up is written.
func (w *Watchdog) old() time.Duration { return w.Lease + settling }

// tooRecent reports whether a record is younger than age. When the server's clock was set back,
// a record may be from the future, and its age is unknown. From more than settling in the
// future, it counts as old.
func tooRecent(at, now time.Time, age time.Duration) bool {
	passed := now.Sub(at)
	return passed < age && passed > -settling
}

// checked yields the records up to the first that is too new. Each says whether its order has
// no wake-up.
func (w *Watchdog) checked(ctx context.Context, records iter.Seq2[ledger.Entry, error], tooNew func(ledger.Entry) bool) iter.Seq2[seen, error] {
	return func(yield func(seen, error) bool) {
		var batch []seen
		flush := func() bool {
			group, ctx := errgroup.WithContext(ctx)
			for i := range batch {
				if !batch[i].open {
					continue
				}
				group.Go(func() error {
					var err error
					batch[i].open, err = w.unwoken(ctx, batch[i])
					return err
				})
			}
			if err := group.Wait(); err != nil {
				yield(seen{}, err)
				return false
			}
			for _, s := range batch {
				if !yield(s, nil) {
					return false
				}
			}
			batch = batch[:0]
			return true
		}
		for e, err := range records {
			s := seen{key: e.Key, generation: e.Generation, revision: e.Revision}
			switch known := errors.Is(err, order.ErrNotARecord) || errors.Is(err, order.ErrNewerFormat); {
			case (err == nil || known) && tooNew(e):
				flush()
				return
			case errors.Is(err, order.ErrNotARecord):
				w.Log.WarnContext(ctx, "the ledger holds a value that is not a record", "bucket", w.Layout.Orders, "err", err)
			case errors.Is(err, order.ErrNewerFormat):
				// The newer workers handle it.
			case err != nil:
				if flush() {
					yield(seen{}, err)
				}
				return
			default:
				s.open = e.Phase != order.Closed
			}
			if batch = append(batch, s); len(batch) >= checksAtOnce && !flush() {
				return
			}
		}
		flush()
	}
}

// unwoken reports whether an order has no wake-up of its generation. It may still have a due
// message or a request.
func (w *Watchdog) unwoken(ctx context.Context, s seen) (bool, error) {
	wake, _, err := w.Wakeups.Find(ctx, s.key)
	if errors.Is(err, wakeup.ErrNewerFormat) {
		return false, nil
	}
	return err == nil && (wake == nil || wake.Generation < s.generation), err
}

// revive wakes an order that nothing else wakes. It asks the leaders first: a scan reads
// replicas, which may lag. It does not repeat a failed write; a later scan does.
func (w *Watchdog) revive(ctx context.Context, key order.Key) (bool, error) {
	rec, err := w.Ledger.Get(ctx, key)
	if err != nil {
		if errors.Is(err, order.ErrNewerFormat) {
			err = nil
		}
		return false, err
	}
	now := w.now()
	if rec.Phase == "" || rec.Phase == order.Closed || tooRecent(rec.At, now, w.old()) {
		return false, nil
	}
	// A redelivered message wakes the order in any phase. Its worker may have been without NATS
	// for longer than the lease, and may still handle it.
	if there, err := w.hasMessage(ctx, rec.Record); err != nil || there {
		return false, err
	}
	wakes, err := w.Wakeups.Wakes(ctx, key, rec.Generation)
	if err != nil || wakes {
		return false, err
	}
	return true, w.schedule(ctx, key, rec, now)
}
