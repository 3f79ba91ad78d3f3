// Package watchdog looks for orders that nothing will wake, and has them woken. One
// worker of the fleet does so at a time. It ends no order and calls no gateway: it
// schedules wake-ups, and the worker that gets them decides.
package watchdog

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/metrics"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/wakeup"
)

const (
	// overdue is how late a wake-up may be before it counts as stuck. A server that
	// restarts, or elects a leader, fires within seconds.
	overdue = time.Minute
	// settling is how long a record must stand before its missing wake-up counts as
	// lost: the wake-up is written after the record.
	settling = time.Minute
	// scanHold is how long the lease holds while a scan runs. It is renewed meanwhile; a
	// worker that dies in its scan is waited for no longer.
	scanHold = time.Minute
	// troubleRest is the pause after a scan that failed, at most.
	troubleRest = 30 * time.Second
	// callTime bounds one exchange with the server.
	callTime = 5 * time.Second
)

// Watchdog scans ledger and wake-ups. Fill in every field but Metrics; it holds nothing
// between two scans.
type Watchdog struct {
	JS      jetstream.JetStream
	Layout  streams.Layout
	Ledger  *ledger.Ledger
	Wakeups *wakeup.Store
	Control *control.Bucket
	Log     *slog.Logger
	Metrics *metrics.Worker // may be nil
	// Every is the pause between two scans.
	Every time.Duration
	// Lease is the longest that a worker owns an order: no submitting record that is
	// younger is looked at.
	Lease time.Duration

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
	// A scan holds more than all else does. The runtime would keep that until it
	// collects again, which an idle worker does every two minutes.
	debug.FreeOSMemory()

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

// Scan compares wake-ups and ledger once, schedules what is stuck or lost, and removes
// due messages that the server will never deliver: each would hide a lost wake-up of
// its order, and count as parked for ever. An order that cannot be woken does not keep
// others from being; they are counted in the log. The error is one of the bus. Scan
// holds eight bytes for each waiting order while it runs, and nothing after.
func (w *Watchdog) Scan(ctx context.Context) (Repairs, error) {
	begun := time.Now()
	r := newRepairing(ctx)
	oldest, err := w.scan(r)
	if repairing := r.wait(); repairing != nil {
		err = repairing // what ended the scan, if anything did
	}
	if r.failed > 0 {
		w.Log.WarnContext(ctx, "orders that could not be woken; trying again with the next scan", "orders", r.failed, "err", r.first)
	}
	if err != nil {
		return r.repairs, err
	}
	last, err := w.Control.ReadScan(ctx, control.ScanFull)
	if err != nil {
		return r.repairs, err
	}
	last.Complete, last.Took, last.Oldest = true, time.Since(begun), 0
	if !oldest.IsZero() {
		last.Oldest = max(0, w.now().Sub(oldest))
	}
	return r.repairs, w.Control.SaveScan(ctx, control.ScanFull, &last)
}

func (w *Watchdog) now() time.Time {
	if t, ok := w.Control.Clock().Now(); ok {
		return t.Add(w.ahead)
	}
	return time.Now().Add(w.ahead)
}

// scan reads wake-ups and ledger, and has r repair what it finds. It returns when the
// oldest waiting order was requested.
func (w *Watchdog) scan(r *repairing) (oldest time.Time, err error) {
	begun := w.now()
	seed := maphash.MakeSeed()
	awake, err := w.scanWakeups(r, seed)
	if err != nil {
		return oldest, err
	}
	slices.Sort(awake)
	for e, err := range slowly(r.ctx, w.Ledger.All(r.ctx)) {
		switch {
		case errors.Is(err, order.ErrNotARecord):
			w.Log.WarnContext(r.ctx, "the ledger holds something that is not a record", "bucket", w.Layout.Orders, "err", err)
			continue
		case errors.Is(err, order.ErrNewerFormat):
			continue // its workers look after it
		case err != nil:
			return oldest, cause(r.ctx, err)
		}
		if e.Phase == order.Closed {
			continue
		}
		if e.Phase.Waits() && (oldest.IsZero() || e.RequestedAt.Before(oldest)) {
			oldest = e.RequestedAt
		}
		if w.young(e.Stored, begun) {
			continue
		}
		key := e.Key // all that is kept of the record
		if _, ok := slices.BinarySearch(awake, mark(seed, key, e.Generation)); !ok {
			r.do(&r.repairs.Lost, func(ctx context.Context) (bool, error) { return w.revive(ctx, key) })
		}
	}
	return oldest, nil
}

// scanWakeups has stuck wake-ups scheduled again and removes dead due messages. It
// returns the marks of the others.
func (w *Watchdog) scanWakeups(r *repairing, seed maphash.Seed) (awake []uint64, err error) {
	settled := map[order.Lane]uint64{}
	for _, lane := range order.Lanes() {
		if settled[lane], err = w.Wakeups.Settled(r.ctx, lane); err != nil {
			return nil, cause(r.ctx, err)
		}
	}
	var dead []uint64 // sequences
	for f, err := range slowly(r.ctx, w.Wakeups.All(r.ctx)) {
		switch {
		case errors.Is(err, wakeup.ErrNewerFormat):
			continue // its workers look after it, and Wakes knows it
		case errors.Is(err, wakeup.ErrNotAWakeup):
			// The publisher of it must not keep lost orders from being found.
			w.Log.WarnContext(r.ctx, "the parked stream holds a message that is not a wake-up", "stream", w.Layout.Parked, "err", err)
			continue
		case err != nil:
			return nil, cause(r.ctx, err)
		}
		if f.Fired && f.Sequence <= settled[f.Lane] {
			dead = append(dead, f.Sequence)
			continue
		}
		awake = append(awake, mark(seed, f.Key, f.Generation))
		if f.Fired || w.now().Sub(f.Due) < overdue {
			continue
		}
		again, sequence := *f.Wakeup, f.Sequence
		again.Due = w.now().UTC()
		r.do(&r.repairs.Stuck, func(ctx context.Context) (bool, error) { return w.Wakeups.Reschedule(ctx, &again, sequence) })
	}
	for i, sequence := range dead {
		if err := w.Wakeups.Discard(r.ctx, sequence); err != nil {
			// It only counts as parked. The orders that wait come first.
			w.Log.WarnContext(r.ctx, "removing due messages that will never be delivered", "left", len(dead)-i, "err", err)
			break
		}
		r.count(&r.repairs.Dead)
	}
	return awake, nil
}

// mark is eight bytes that stand for one generation of an order.
func mark(seed maphash.Seed, key order.Key, generation int) uint64 {
	return maphash.Comparable(seed, struct {
		order.Key
		generation int
	}{key, generation})
}

// young reports whether the worker that wrote a record may still be on its way to the
// wake-up, or in the call.
func (w *Watchdog) young(s order.Stored, now time.Time) bool {
	age := now.Sub(s.At)
	return age < settling || !s.Phase.Waits() && age < w.Lease+settling
}

// revive wakes an order that a scan did not meet, after asking the leaders: the scan
// reads replicas, which may lag. A write that fails is not repeated: the next scan is.
func (w *Watchdog) revive(ctx context.Context, key order.Key) (bool, error) {
	rec, err := w.Ledger.Get(ctx, key)
	if err != nil {
		if errors.Is(err, order.ErrNewerFormat) {
			err = nil
		}
		return false, err
	}
	now := w.now()
	if rec.Phase == "" || rec.Phase == order.Closed || w.young(rec, now) {
		return false, nil
	}
	if !rec.Phase.Waits() {
		// Its message wakes it, as long as there is one.
		if there, err := w.hasMessage(ctx, rec.Record); err != nil || there {
			return false, err
		}
	}
	wakes, err := w.Wakeups.Wakes(ctx, key, rec.Generation)
	if err != nil || wakes {
		return false, err
	}
	wake := order.WakeupOf(key, rec.Record, now)
	err = w.Wakeups.Schedule(ctx, wake)
	if streams.IsRefused(err) && wake.Request != nil {
		err = w.Wakeups.Schedule(ctx, wake.Smaller()) // only the request in it is large
	}
	return true, err
}

// hasMessage reports whether the message of a record is still to be delivered. One that
// its consumer takes for acknowledged is not, though a server that was killed may keep it.
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
