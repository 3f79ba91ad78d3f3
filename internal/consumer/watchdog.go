package consumer

import (
	"context"
	"errors"
	"hash/maphash"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/parking"
)

const (
	oldestKey = "oldest-parked" // when the oldest parked order was requested, RFC 3339
	// overdue is how late a slot may be before it counts as stuck. A server
	// that restarts, or elects a leader, fires within seconds.
	overdue = time.Minute
	// settling is how long a ledger record must stand before its missing slot
	// counts as lost: the slot is written after the record.
	settling = time.Minute
	// lookHold is how long the duty holds while a look is under way, at most. It is
	// renewed meanwhile; a worker that dies in its look is waited for no longer.
	lookHold = time.Minute
	// troubleRest is the pause after a look that failed, at most.
	troubleRest = 30 * time.Second
)

// watchdog looks for stuck and lost slots until ctx is done. One worker of the
// fleet does so at a time.
func (w *Worker) watchdog(ctx context.Context) {
	// Workers that start together do not all ask for the duty at once.
	pause := time.Duration((0.5 + rand.Float64()) * float64(min(w.cfg.WatchdogEvery, time.Minute)))
	for sleep(ctx, pause) == nil {
		pause = w.turn(ctx)
	}
	leave, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := w.duty.leave(leave); err != nil {
		w.log.DebugContext(leave, "giving back the watchdog's duty; it ends by itself", "err", err)
	}
}

// turn looks once, where that is this worker's duty, and returns how long to wait
// for the next turn.
func (w *Worker) turn(ctx context.Context) time.Duration {
	every := w.cfg.WatchdogEvery
	hold := min(lasting(every), lookHold)
	mine, wait, err := w.duty.take(ctx, hold)
	switch {
	case err != nil:
		w.log.WarnContext(ctx, "asking for the watchdog's duty", "wait", min(every, troubleRest), "err", err)
		return min(every, troubleRest)
	case !mine:
		// Those that wait for the same end do not all ask at once.
		return wait + rand.N(every/10+1)
	}

	look, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var keeping sync.WaitGroup
	keeping.Go(func() { w.duty.keep(look, hold, stop) })
	begun := time.Now()
	repairs, err := w.Watch(look)
	took := time.Since(begun)
	stop(nil)
	keeping.Wait()
	// A look holds more than all else does. The runtime would keep that until it
	// collects again, which an idle worker does every two minutes.
	debug.FreeOSMemory()

	w.metrics.repaired(repairs)
	if repairs != (Repairs{}) {
		w.log.WarnContext(ctx, "armed slots again", "stuck", repairs.Stuck, "lost", repairs.Lost, "dead", repairs.Dead)
	}
	if ctx.Err() != nil {
		return every // the worker stops
	}
	pause := every
	switch {
	case err == nil:
		w.log.DebugContext(ctx, "looked for lost slots", "took", took)
	case errors.Is(err, errDutyLost):
		w.log.WarnContext(ctx, "looking for lost slots; another worker goes on", "wait", every, "err", err)
		return every
	default:
		pause = min(every, troubleRest)
		w.log.WarnContext(ctx, "looking for lost slots; looking again", "wait", pause, "err", err)
	}
	// Others take over when this worker does not come back for its next look.
	if _, _, err := w.duty.take(ctx, lasting(pause)); err != nil {
		w.log.WarnContext(ctx, "keeping the watchdog's duty", "err", err)
	}
	return pause
}

// lasting is how long the duty holds over a pause: whoever has it is back before it
// ends.
func lasting(pause time.Duration) time.Duration { return pause + pause/10 }

// Watch compares slots and ledger once, arms what is stuck or lost, and removes
// wake-ups that the server will never deliver: each would hide a lost slot of its
// order, and count as parked for ever. An order that cannot be armed does not keep
// others from being; they are counted in the log. The error is one of the bus.
// Watch holds eight bytes for each parked order while it runs, and nothing after.
func (w *Worker) Watch(ctx context.Context) (Repairs, error) {
	m := mend(ctx)
	oldest, err := w.look(m)
	if mending := m.wait(); mending != nil {
		err = mending // what ended the look, if anything did
	}
	if m.failed > 0 {
		w.log.WarnContext(ctx, "orders that could not be armed; trying again with the next look", "orders", m.failed, "err", m.first)
	}
	if err != nil {
		return m.repairs, err
	}
	return m.repairs, w.shareOldest(ctx, oldest)
}

// look reads slots and ledger, and has m put right what it finds. It returns when
// the oldest parked order was requested.
func (w *Worker) look(m *mending) (oldest time.Time, err error) {
	begun := time.Now()
	seed := maphash.MakeSeed()
	armed, err := w.lookAtSlots(m, seed)
	if err != nil {
		return oldest, err
	}
	slices.Sort(armed)
	for rec, err := range slowly(m.ctx, w.ledger.All(m.ctx)) {
		if errors.Is(err, ledger.ErrNotARecord) {
			w.log.WarnContext(m.ctx, "something that is no record lies in the ledger", "bucket", w.cfg.Layout.Orders, "err", err)
			continue
		}
		if err != nil {
			return oldest, cause(m.ctx, err)
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
		key := rec.Key() // all that is kept of the record
		if _, ok := slices.BinarySearch(armed, waits(seed, key, rec.Replay)); !ok {
			m.do(&m.repairs.Lost, func(ctx context.Context) (bool, error) { return w.reviveLost(ctx, key) })
		}
	}
	return oldest, nil
}

// lookAtSlots has stuck slots armed again and removes dead wake-ups. It returns what
// stands for the others.
func (w *Worker) lookAtSlots(m *mending, seed maphash.Seed) (armed []uint64, err error) {
	settled, err := w.lot.Settled(m.ctx)
	if err != nil {
		return nil, cause(m.ctx, err)
	}
	var dead []uint64 // sequences
	for s, err := range slowly(m.ctx, w.lot.All(m.ctx)) {
		switch {
		case errors.Is(err, parking.ErrNoSlot):
			// Whoever put it there must not keep lost orders from being found.
			w.log.WarnContext(m.ctx, "a message that is no parked order lies among them", "stream", w.cfg.Layout.Parked, "err", err)
			continue
		case err != nil:
			return nil, cause(m.ctx, err)
		}
		if s.Fired && s.Sequence <= settled {
			dead = append(dead, s.Sequence)
			continue
		}
		armed = append(armed, waits(seed, s.Key, s.Replay))
		if s.Fired || time.Since(s.Due) < overdue {
			continue
		}
		slot := s.Slot
		slot.Due = time.Now().UTC()
		m.do(&m.repairs.Stuck, func(ctx context.Context) (bool, error) { return w.lot.Rescue(ctx, slot) })
	}
	for i, sequence := range dead {
		if err := w.lot.Discard(m.ctx, sequence); err != nil {
			// It only counts as parked. The orders that wait come first.
			w.log.WarnContext(m.ctx, "removing wake-ups that will never be delivered", "left", len(dead)-i, "err", err)
			break
		}
		m.count(&m.repairs.Dead)
	}
	return armed, nil
}

// waits is eight bytes that stand for one generation of an order.
func waits(seed maphash.Seed, key ledger.Key, replay int) uint64 {
	return maphash.Comparable(seed, struct {
		ledger.Key
		replay int
	}{key, replay})
}

// reviveLost arms an order that a scan did not meet, after asking the leaders:
// the scan reads replicas, which may lag. A write that fails is not repeated: the
// next look is.
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
	return true, w.lot.Arm(ctx, &parking.Slot{
		Key: key, Kind: rec.Kind, Due: w.wakeAt(rec, 0, 0), Deadline: rec.Deadline,
		TrackingID: rec.TrackingID, Replay: rec.Replay, Request: rec.Request,
	})
}
