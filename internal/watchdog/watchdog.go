// Package watchdog finds orders that nothing will wake, and schedules wake-ups for them. The
// worker that holds the watchdog lease scans; the others wait. The watchdog ends no order and
// calls no gateway. The worker that gets the due message decides.
//
// # What a scan reads
//
// A scan reads every wake-up and due message. From the ledger it reads the records that were
// written since two cursors, which the control bucket keeps:
//
//	cursor   reads a record once it is as old as an order lease: its owner has stopped by then,
//	         and its wake-up is written
//	lagging  reads it again once it is older than the longest wait: its first wake-up has fired
//	         by then, and the next is written
//
// At most once a day it also reads every record, a part with each scan. So the cost of a scan
// grows with what is written and what waits. Closed records behind the cursors cost nothing. A
// scan holds at most one batch, and ends at the last message that was written before it began.
//
// The cursors are invalid when the stream was made again, or lost its end. Then a scan reads
// every record. An operator can force that: delete the key scan.full of the control bucket.
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
	// overdue is how late a wake-up must be to count as stuck. A server that restarts or elects
	// a leader fires within seconds.
	overdue = time.Minute
	// settling is how long a worker may take, beside its lease, between writing a record and
	// writing its wake-up.
	settling = time.Minute
	// longestWait is longer than any wait of one wake-up: a pause of an hour, plus a quarter of
	// jitter.
	longestWait = 90 * time.Minute
	// wholeEvery is the shortest time between the end of one scan of all records and the next.
	wholeEvery = 24 * time.Hour
	// scanLease is how long the watchdog lease lasts while a scan runs. The worker renews it
	// meanwhile. When that worker dies, the others wait no longer than this.
	scanLease = time.Minute
	// troubleRest is the longest wait after a failed scan.
	troubleRest = 30 * time.Second
	// callTime bounds one exchange with the server.
	callTime = 5 * time.Second
)

// Watchdog scans the ledger and the wake-ups. Set every field except Metrics and Polls. It
// keeps no state between two scans.
type Watchdog struct {
	JS      jetstream.JetStream
	Layout  streams.Layout
	Ledger  *ledger.Ledger
	Wakeups *wakeup.Store
	Control *control.Bucket
	Log     *slog.Logger
	Metrics *metrics.Worker // may be nil
	// Every is the time between two scans. A scan that has read for half of it stops, and the
	// next one continues.
	Every time.Duration
	// Lease is the longest order lease. A scan ignores records that are younger.
	Lease time.Duration
	// Polls estimates how often an order that has waited for that long was polled, when its
	// wake-up is lost. Nil means zero polls.
	Polls func(waited time.Duration) int

	// ahead moves the clock, in tests only: a record's age depends on the server's time alone.
	ahead time.Duration
}

// Repairs counts the repairs of one scan.
type Repairs struct {
	Stuck int // wake-ups whose time had passed without a due message
	Lost  int // orders that nothing would wake
	Dead  int // due messages that the server keeps and will never deliver, removed
}

// Run scans until ctx is done, while this worker holds the watchdog lease.
func (w *Watchdog) Run(ctx context.Context) {
	lease := w.Control.WatchdogLease()
	// Spread the first requests of workers that start together.
	rest := time.Duration((0.5 + rand.Float64()) * float64(min(w.Every, time.Minute)))
	for sleep(ctx, rest) == nil {
		rest = w.turn(ctx, lease)
	}
	release, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := lease.Release(release); err != nil {
		w.Log.DebugContext(release, "releasing the watchdog lease; it expires by itself", "err", err)
	}
}

// turn scans once, if this worker gets the watchdog lease. It returns how long to wait before
// the next turn.
func (w *Watchdog) turn(ctx context.Context, lease *control.Lease) time.Duration {
	length := min(lasting(w.Every), scanLease)
	ask, cancel := context.WithTimeout(ctx, callTime)
	acquired, wait, err := lease.Acquire(ask, length)
	cancel()
	switch {
	case err != nil:
		w.Log.WarnContext(ctx, "asking for the watchdog lease", "wait", min(w.Every, troubleRest), "err", err)
		return min(w.Every, troubleRest)
	case !acquired:
		// Workers that wait for the same lease must not all ask at once.
		return wait + rand.N(w.Every/10+1)
	}

	scan, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var keeping sync.WaitGroup
	keeping.Go(func() { lease.Keep(scan, length, stop) })
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
	rest := w.Every
	switch {
	case err == nil:
		w.Log.DebugContext(ctx, "scanned for lost wake-ups", "took", took)
	case errors.Is(err, control.ErrLeaseLost):
		w.Log.WarnContext(ctx, "scanning for lost wake-ups; another worker continues", "wait", w.Every, "err", err)
		return w.Every
	default:
		rest = min(w.Every, troubleRest)
		w.Log.WarnContext(ctx, "scanning for lost wake-ups; scanning again", "wait", rest, "err", err)
	}
	// Another worker takes over when this one does not return for its next scan.
	ask, cancel = context.WithTimeout(ctx, callTime)
	defer cancel()
	if err := lease.Renew(ask, lasting(rest)); err != nil {
		w.Log.WarnContext(ctx, "renewing the watchdog lease", "err", err)
	}
	return rest
}

// lasting is how long the lease must last over that rest: its holder returns before it ends.
func lasting(rest time.Duration) time.Duration { return rest + rest/10 }

// now is the server's time. Before the first measurement it is the host's time.
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
