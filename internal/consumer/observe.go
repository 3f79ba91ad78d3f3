package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/deadletter"
)

// observeEvery is the pause between two readings of the bus for the metrics.
const observeEvery = 15 * time.Second

// observed is what the gauges of the bus tell of.
var observed = []string{"lanes", "ages", "parked", "dead_letters"}

// observeBus keeps the gauges that tell of the bus, until ctx is done. They are
// read apart from scrapes, so that no number of scrapers loads the server.
func (w *Worker) observeBus(ctx context.Context, lanes []*lane) {
	for wait := time.Second; sleep(ctx, wait) == nil; wait = observeEvery {
		for what, read := range map[string]func(context.Context) error{
			"lanes":        func(ctx context.Context) error { return w.observeLanes(ctx, lanes) },
			"ages":         func(ctx context.Context) error { return w.observeAges(ctx, lanes) },
			"parked":       w.observeParked,
			"dead_letters": w.observeLetters,
		} {
			try, cancel := context.WithTimeout(ctx, ackTimeout)
			err := read(try)
			cancel()
			if err != nil {
				// The gauge's own timestamp grows old; what is wrong with the bus
				// the lanes say, louder.
				w.log.DebugContext(ctx, "reading the bus for its metrics", "of", what, "err", err)
				continue
			}
			w.metrics.known.WithLabelValues(what).SetToCurrentTime()
		}
	}
}

func (w *Worker) observeLanes(ctx context.Context, lanes []*lane) error {
	for _, l := range lanes {
		c, err := w.js.Consumer(ctx, l.stream, l.consumer)
		if err != nil {
			return fmt.Errorf("reading the consumer %s: %w", l.consumer, err)
		}
		info := c.CachedInfo()
		w.metrics.pending.WithLabelValues(l.name).Set(float64(info.NumPending))
		w.metrics.unacked.WithLabelValues(l.name).Set(float64(info.NumAckPending))
	}
	return nil
}

// observeAges tells how long the oldest message of each lane waits for its end. What is done
// with has left the stream, so that the first message behind the consumer's floor is it.
func (w *Worker) observeAges(ctx context.Context, lanes []*lane) error {
	for _, l := range lanes {
		c, err := w.js.Consumer(ctx, l.stream, l.consumer)
		if err != nil {
			return fmt.Errorf("reading the consumer %s: %w", l.consumer, err)
		}
		info, oldest := c.CachedInfo(), time.Time{}
		if info.NumPending > 0 || info.NumAckPending > 0 {
			st, err := w.js.Stream(ctx, l.stream)
			if err != nil {
				return fmt.Errorf("reading the stream %s: %w", l.stream, err)
			}
			for _, filter := range append(info.Config.FilterSubjects, info.Config.FilterSubject) {
				if filter == "" {
					continue
				}
				m, err := st.GetMsg(ctx, info.AckFloor.Stream+1, jetstream.WithGetMsgSubject(filter))
				switch {
				case errors.Is(err, jetstream.ErrMsgNotFound):
				case err != nil:
					return fmt.Errorf("reading the oldest message of the lane %s: %w", l.name, err)
				case oldest.IsZero() || m.Time.Before(oldest):
					oldest = m.Time
				}
			}
		}
		age := 0.0
		if !oldest.IsZero() {
			age = max(0, time.Since(oldest).Seconds())
		}
		w.metrics.age.WithLabelValues(l.name).Set(age)
	}
	return nil
}

// observeParked counts what the parked stream holds: slots, and wake-ups that
// are not acknowledged yet. Each stands for one order, but for the moment in
// which an order's wake-up is in hand and its next slot is armed.
func (w *Worker) observeParked(ctx context.Context) error {
	st, err := w.js.Stream(ctx, w.cfg.Layout.Parked)
	if err != nil {
		return fmt.Errorf("reading the stream %s: %w", w.cfg.Layout.Parked, err)
	}
	w.metrics.waiting.Set(float64(st.CachedInfo().State.Msgs))
	kv, err := w.js.KeyValue(ctx, w.cfg.Layout.Control)
	if err != nil {
		return fmt.Errorf("opening the control bucket: %w", err)
	}
	oldest, err := oldestOf(kv.Get(ctx, oldestKey))
	if err != nil {
		return err // the gauge keeps what it had
	}
	w.metrics.oldestParked(oldest)
	return nil
}

// oldestOf reads what shareOldest wrote: the zero time where no order is parked, or no
// watchdog has looked yet.
func oldestOf(e jetstream.KeyValueEntry, err error) (time.Time, error) {
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return time.Time{}, nil
	case err != nil:
		return time.Time{}, fmt.Errorf("reading the age of the oldest parked order: %w", err)
	case len(e.Value()) == 0:
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, string(e.Value()))
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the age of the oldest parked order: %w", err)
	}
	return t, nil
}

func (w *Worker) observeLetters(ctx context.Context) error {
	depths, err := w.dead.Depths(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(depths, func(d deadletter.Depth) bool { return d.Reason == deadletter.Other }) {
		depths = append(depths, deadletter.Depth{Reason: deadletter.Other}) // gone, if there were any
	}
	for _, d := range depths {
		w.metrics.letters.WithLabelValues(string(d.Reason)).Set(float64(d.Letters))
		age := 0.0
		if !d.Oldest.IsZero() {
			age = time.Since(d.Oldest).Seconds()
		}
		w.metrics.letterAge.WithLabelValues(string(d.Reason)).Set(age)
	}
	return nil
}

// shareOldest tells the fleet when the oldest parked order was requested.
func (w *Worker) shareOldest(ctx context.Context, oldest time.Time) error {
	kv, err := w.js.KeyValue(ctx, w.cfg.Layout.Control)
	if err != nil {
		return fmt.Errorf("opening the control bucket: %w", err)
	}
	text := ""
	if !oldest.IsZero() {
		text = oldest.UTC().Format(time.RFC3339Nano)
	}
	if _, err := kv.PutString(ctx, oldestKey, text); err != nil {
		return fmt.Errorf("sharing the age of the oldest parked order: %w", err)
	}
	return nil
}
