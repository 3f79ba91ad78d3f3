package consumer

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/parking"
)

const (
	watchdogKey = "watchdog"
	oldestKey   = "oldest-parked" // when the oldest parked order was requested, RFC 3339
	// overdue is how late a slot may be before it counts as stuck. A server
	// that restarts, or elects a leader, fires within seconds.
	overdue = time.Minute
	// settling is how long a ledger record must stand before its missing slot
	// counts as lost: the slot is written after the record.
	settling = time.Minute
)

// Repairs counts what one look of the watchdog put right.
type Repairs struct {
	Stuck int // slots whose time had passed without a wake-up
	Lost  int // parked orders with neither slot nor due message
	Dead  int // due messages that the server keeps and will never deliver, removed
}

// watchdog looks for stuck and lost slots until ctx is done. One worker of the
// fleet does so at a time.
func (w *Worker) watchdog(ctx context.Context) {
	// Workers that start together do not all ask for the lease at once.
	pause := time.Duration((0.5 + rand.Float64()) * float64(min(w.cfg.WatchdogEvery, time.Minute)))
	for sleep(ctx, pause) == nil {
		pause = w.cfg.WatchdogEvery
		mine, err := w.leaseWatchdog(ctx)
		if err != nil {
			w.log.WarnContext(ctx, "asking for the watchdog's lease", "err", err)
			continue
		}
		if !mine {
			continue
		}
		repairs, err := w.Watch(ctx)
		w.metrics.repaired(repairs)
		if err != nil && ctx.Err() == nil {
			w.log.WarnContext(ctx, "looking for lost slots; looking again later", "wait", pause, "err", err)
		}
		if repairs != (Repairs{}) {
			w.log.WarnContext(ctx, "armed slots again", "stuck", repairs.Stuck, "lost", repairs.Lost, "dead", repairs.Dead)
		}
	}
}

// leaseWatchdog reports whether this worker is the one to look, for the next
// pause.
func (w *Worker) leaseWatchdog(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	kv, err := w.js.KeyValue(ctx, w.cfg.Layout.Control)
	if err != nil {
		return false, fmt.Errorf("opening the control bucket: %w", err)
	}
	now := time.Now().UTC()
	until := now.Add(w.cfg.WatchdogEvery * 9 / 10).Format(time.RFC3339Nano)
	e, err := kv.Get(ctx, watchdogKey)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		_, err = kv.Create(ctx, watchdogKey, []byte(until))
	case err != nil:
		return false, fmt.Errorf("reading the watchdog's lease: %w", err)
	default:
		if t, err := time.Parse(time.RFC3339Nano, string(e.Value())); err == nil && now.Before(t) {
			return false, nil
		}
		_, err = kv.Update(ctx, watchdogKey, []byte(until), e.Revision())
	}
	if errors.Is(err, jetstream.ErrKeyExists) {
		return false, nil // another worker was faster
	}
	return err == nil, err
}

// Watch compares slots and ledger once, arms what is stuck or lost, and removes
// wake-ups that the server will never deliver: each would hide a lost slot of its
// order, and count as parked for ever. It holds eight bytes for each parked order
// while it runs, and nothing after.
func (w *Worker) Watch(ctx context.Context) (Repairs, error) {
	var repairs Repairs
	begun := time.Now()
	seed := maphash.MakeSeed()
	settled, err := w.lot.Settled(ctx)
	if err != nil {
		return repairs, err
	}
	var armed []uint64
	var dead []uint64 // sequences
	for s, err := range w.lot.All(ctx) {
		switch {
		case errors.Is(err, parking.ErrNoSlot):
			// Whoever put it there must not keep lost orders from being found.
			w.log.WarnContext(ctx, "a message that is no parked order lies among them", "stream", w.cfg.Layout.Parked, "err", err)
			continue
		case err != nil && ctx.Err() != nil:
			return repairs, context.Cause(ctx)
		case err != nil:
			return repairs, err
		}
		if s.Fired && s.Sequence <= settled {
			dead = append(dead, s.Sequence)
			continue
		}
		armed = append(armed, waits(seed, s.Key, s.Replay))
		if s.Fired || time.Since(s.Due) < overdue {
			continue
		}
		s.Slot.Due = time.Now().UTC()
		rescued, err := w.lot.Rescue(ctx, s.Slot)
		if err != nil {
			return repairs, fmt.Errorf("arming the stuck slot of %s: %w", s.Key, err)
		}
		if rescued {
			repairs.Stuck++
		}
	}
	for _, sequence := range dead {
		if err := w.lot.Discard(ctx, sequence); err != nil {
			// It only counts as parked. The orders that wait come first.
			w.log.WarnContext(ctx, "removing wake-ups that will never be delivered", "left", len(dead)-repairs.Dead, "err", err)
			break
		}
		repairs.Dead++
	}
	slices.Sort(armed)
	var oldest time.Time
	for rec, err := range w.ledger.All(ctx) {
		if errors.Is(err, ledger.ErrNotARecord) {
			w.log.WarnContext(ctx, "something that is no record lies in the ledger", "bucket", w.cfg.Layout.Orders, "err", err)
			continue
		}
		if err != nil {
			return repairs, err
		}
		if !rec.Slotted() {
			continue
		}
		if oldest.IsZero() || rec.RequestedAt.Before(oldest) {
			oldest = rec.RequestedAt
		}
		if begun.Sub(rec.UpdatedAt) < settling {
			continue
		}
		if _, ok := slices.BinarySearch(armed, waits(seed, rec.Key(), rec.Replay)); ok {
			continue
		}
		lost, err := w.reviveLost(ctx, rec.Key())
		if err != nil {
			return repairs, err
		}
		if lost {
			repairs.Lost++
		}
	}
	return repairs, w.shareOldest(ctx, oldest)
}

// waits is eight bytes that stand for one generation of an order.
func waits(seed maphash.Seed, key ledger.Key, replay int) uint64 {
	return maphash.Comparable(seed, struct {
		ledger.Key
		replay int
	}{key, replay})
}

// reviveLost arms an order that a scan did not meet, after asking the leaders:
// the scan reads replicas, which may lag.
func (w *Worker) reviveLost(ctx context.Context, key ledger.Key) (bool, error) {
	rec, err := w.ledger.Get(ctx, key)
	if errors.Is(err, ledger.ErrNoRecord) || (err == nil && (!rec.Slotted() || rec.LeaseLive(time.Now()))) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	armed, err := w.lot.Armed(ctx, key, rec.Replay)
	if err != nil || armed {
		return false, err
	}
	o := &order{key: key, kind: rec.Kind, replay: rec.Replay, raw: rec.Request, rec: rec}
	return true, w.arm(ctx, o, 0, 0)
}
