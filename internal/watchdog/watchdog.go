// Package watchdog looks for orders that nothing will wake, and has them woken. One
// worker of the fleet does so at a time. It ends no order and calls no gateway: it
// schedules wake-ups, and the worker that gets them decides.
//
// # What a scan reads
//
// Every wake-up and due message there is: what waits. Of the ledger, the records that were
// written since two cursors, kept in the control bucket:
//
//	cursor   reads a record when it is as old as an order lease: its owner is gone then, and its
//	         wake-up written
//	lagging  reads it again when it is older than the longest wait: its first wake-up has fired
//	         then, and the next is written
//
// And every record, at most once a day, a slice with each scan. So a scan costs what is
// written and what waits. Closed records cost nothing behind the cursors. No scan holds more
// than one batch, and each ends at what had been written when it began.
//
// Cursors of a stream that was made again, or that lost its end, mean nothing: every record
// is read then. An operator who deletes the key scan.full of the control bucket has that too.
package watchdog

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/metrics"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/wakeup"
)

const (
	// overdue is how late a wake-up may be before it counts as stuck. A server that
	// restarts, or elects a leader, fires within seconds.
	overdue = time.Minute
	// settling is how long a worker may take, beside its lease, from a record to the wake-up
	// that belongs to it.
	settling = time.Minute
	// longestWait is longer than every wait that one wake-up stands for: a pause of an
	// hour, spread by a quarter.
	longestWait = 90 * time.Minute
	// wholeEvery is the shortest time from the end of one scan of every record to the next.
	wholeEvery = 24 * time.Hour
	// scanHold is how long the lease holds while a scan runs. It is renewed meanwhile; a
	// worker that dies in its scan is waited for no longer.
	scanHold = time.Minute
	// troubleRest is the pause after a scan that failed, at most.
	troubleRest = 30 * time.Second
	// callTime bounds one exchange with the server.
	callTime = 5 * time.Second
)

// Watchdog scans ledger and wake-ups. Fill in every field but Metrics and Polls; it holds
// nothing between two scans.
type Watchdog struct {
	JS      jetstream.JetStream
	Layout  streams.Layout
	Ledger  *ledger.Ledger
	Wakeups *wakeup.Store
	Control *control.Bucket
	Log     *slog.Logger
	Metrics *metrics.Worker // may be nil
	// Every is the pause between two scans. A scan that has read for half of it goes on with
	// the next one.
	Every time.Duration
	// Lease is the longest that a worker owns an order: no record that is younger is looked
	// at.
	Lease time.Duration
	// Polls says how often an order that has waited for so long was polled, where its wake-up
	// is lost. Nil: never.
	Polls func(waited time.Duration) int

	// ahead moves the clock. Only tests set it: the server's time is all that makes a
	// record old.
	ahead time.Duration
}

// Repairs counts what one scan put right.
type Repairs struct {
	Stuck int // wake-ups whose time had passed without a due message
	Lost  int // orders that nothing would wake
	Dead  int // due messages that the server keeps and will never deliver, removed
}

// Run scans until ctx is done, whenever this worker has the watchdog lease.
func (w *Watchdog) Run(ctx context.Context) {
	lease := w.Control.WatchdogLease()
	// Workers that start together do not all ask for the lease at once.
	pause := time.Duration((0.5 + rand.Float64()) * float64(min(w.Every, time.Minute)))
	for sleep(ctx, pause) == nil {
		pause = w.turn(ctx, lease)
	}
	leave, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := lease.Release(leave); err != nil {
		w.Log.DebugContext(leave, "releasing the watchdog lease; it ends by itself", "err", err)
	}
}

// turn scans once, where this worker gets the lease, and returns how long to wait for
// the next turn.
func (w *Watchdog) turn(ctx context.Context, lease *control.Lease) time.Duration {
	hold := min(lasting(w.Every), scanHold)
	ask, cancel := context.WithTimeout(ctx, callTime)
	acquired, wait, err := lease.Acquire(ask, hold)
	cancel()
	switch {
	case err != nil:
		w.Log.WarnContext(ctx, "asking for the watchdog lease", "wait", min(w.Every, troubleRest), "err", err)
		return min(w.Every, troubleRest)
	case !acquired:
		// Those that wait for the same end do not all ask at once.
		return wait + rand.N(w.Every/10+1)
	}

	scan, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var keeping sync.WaitGroup
	keeping.Go(func() { lease.Keep(scan, hold, stop) })
	begun := time.Now()
	repairs, err := w.Scan(scan)
	took := time.Since(begun)
	stop(nil)
	keeping.Wait()

	for kind, n := range map[string]int{"stuck": repairs.Stuck, "lost": repairs.Lost, "dead": repairs.Dead} {
		w.Metrics.Repaired(kind, n)
	}
	if repairs != (Repairs{}) {
		w.Log.WarnContext(ctx, "repaired wake-ups", "stuck", repairs.Stuck, "lost", repairs.Lost, "dead", repairs.Dead)
	}
	if ctx.Err() != nil {
		return w.Every // the worker stops
	}
	pause := w.Every
	switch {
	case err == nil:
		w.Log.DebugContext(ctx, "scanned for lost wake-ups", "took", took)
	case errors.Is(err, control.ErrLeaseLost):
		w.Log.WarnContext(ctx, "scanning for lost wake-ups; another worker goes on", "wait", w.Every, "err", err)
		return w.Every
	default:
		pause = min(w.Every, troubleRest)
		w.Log.WarnContext(ctx, "scanning for lost wake-ups; scanning again", "wait", pause, "err", err)
	}
	// Others take over when this worker does not come back for its next scan.
	ask, cancel = context.WithTimeout(ctx, callTime)
	defer cancel()
	if err := lease.Renew(ask, lasting(pause)); err != nil {
		w.Log.WarnContext(ctx, "renewing the watchdog lease", "err", err)
	}
	return pause
}

// lasting is how long the lease holds over a pause: its holder is back before it ends.
func lasting(pause time.Duration) time.Duration { return pause + pause/10 }

// now is the server's time. Before the first measurement it is the host's.
func (w *Watchdog) now() time.Time {
	if t, ok := w.Control.Clock().Now(); ok {
		return t.Add(w.ahead)
	}
	return time.Now().Add(w.ahead)
}

func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
