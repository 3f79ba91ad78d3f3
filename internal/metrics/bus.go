package metrics

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/snapshot"
)

// observeEvery is the pause between two readings of the bus, readTime bounds one.
const (
	observeEvery = 15 * time.Second
	readTime     = 5 * time.Second
)

// observed is what the gauges of the bus are about.
var observed = []string{"lanes", "ages", "parked", "dead_letters"}

// Bus is what the gauges of the bus are read from.
type Bus struct {
	Reader  *snapshot.Reader
	Control *control.Bucket
	Log     *slog.Logger
}

// Observe keeps the gauges of the bus, until ctx is done. They are read apart from
// scrapes, so that no number of scrapers loads the server.
func (m *Worker) Observe(ctx context.Context, b Bus) {
	if m == nil {
		return
	}
	for wait := time.Second; sleep(ctx, wait) == nil; wait = observeEvery {
		for what, read := range map[string]func(context.Context, Bus) error{
			"lanes": m.observeLanes, "ages": m.observeAges, "parked": m.observeParked, "dead_letters": m.observeLetters,
		} {
			try, cancel := context.WithTimeout(ctx, readTime)
			err := read(try, b)
			cancel()
			if err != nil {
				// The gauge's own timestamp grows old; what is wrong with the bus the
				// lanes say, louder.
				b.Log.DebugContext(ctx, "reading the bus for its metrics", "of", what, "err", err)
				continue
			}
			m.known.WithLabelValues(what).SetToCurrentTime()
		}
	}
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

func (m *Worker) observeLanes(ctx context.Context, b Bus) error {
	lanes, err := b.Reader.Lanes(ctx)
	for _, l := range lanes {
		m.pending.WithLabelValues(l.Name).Set(float64(l.Backlog))
		m.unacked.WithLabelValues(l.Name).Set(float64(l.InFlight))
	}
	return err
}

// observeAges measures how long the oldest message of each lane waits for its end.
func (m *Worker) observeAges(ctx context.Context, b Bus) error {
	lanes, err := b.Reader.Ages(ctx)
	for _, l := range lanes {
		m.age.WithLabelValues(l.Name).Set(secondsSince(l.Oldest))
	}
	return err
}

// secondsSince is the age of something, 0 where there is nothing.
func secondsSince(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return max(0, time.Since(t).Seconds())
}

// observeParked counts what the parked stream holds: wake-ups, and due messages that
// are not acknowledged yet. Each stands for one order, but for the moment between a due
// message and the next wake-up.
func (m *Worker) observeParked(ctx context.Context, b Bus) error {
	parked, err := b.Reader.Parked(ctx)
	if err != nil {
		return err
	}
	m.waiting.Set(float64(parked.Orders))
	scan, err := b.Control.ReadScan(ctx, control.ScanRecent)
	if err != nil {
		return err // the gauge keeps what it had
	}
	whole, err := b.Control.ReadScan(ctx, control.ScanFull)
	if err != nil {
		return err
	}
	oldest := 0.0
	if scan.Oldest > 0 {
		oldest = (scan.Oldest + scan.Age).Seconds()
	}
	m.oldestWaiting.Set(oldest)
	if n := scan.Waiting; n != nil { // an older worker counts none
		m.waitingFor.WithLabelValues(string(order.Awaiting)).Set(float64(n.Awaiting))
		m.waitingFor.WithLabelValues(string(order.Unaccepted)).Set(float64(n.Unaccepted))
		m.waitingFor.WithLabelValues(string(order.Indeterminate)).Set(float64(n.Indeterminate))
	}
	for _, s := range []struct {
		control.Scan
		gauge prometheus.Gauge
	}{{scan, m.lastScan}, {whole, m.lastWholeScan}} {
		if ago, ok := s.Ended(); ok {
			s.gauge.Set(float64(time.Now().Add(-ago).Unix()))
		}
	}
	if skew, _, ok := b.Control.Clock().Skew(); ok {
		m.skew.Set(skew.Seconds())
	}
	return nil
}

func (m *Worker) observeLetters(ctx context.Context, b Bus) error {
	letters, err := b.Reader.Letters(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(letters, func(l snapshot.Letters) bool { return l.Reason == deadletter.Other }) {
		letters = append(letters, snapshot.Letters{Reason: deadletter.Other}) // gone, if there were any
	}
	for _, l := range letters {
		m.letters.WithLabelValues(string(l.Reason)).Set(float64(l.Count))
		m.fullest.WithLabelValues(string(l.Reason)).Set(l.Fullness)
		m.letterAge.WithLabelValues(string(l.Reason)).Set(secondsSince(l.Oldest))
	}
	return nil
}
