package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// observeEvery is the pause between two readings of the bus, readTime bounds one.
const (
	observeEvery = 15 * time.Second
	readTime     = 5 * time.Second
)

// observed is what the gauges of the bus are about.
var observed = []string{"lanes", "ages", "parked", "dead_letters"}

// consumers are the lanes of a worker by the names that label their metrics.
func consumers(l streams.Layout) map[string][2]string {
	return map[string][2]string{
		"issue":        {l.Requests, streams.ConsumerIssue},
		"revoke":       {l.Requests, streams.ConsumerRevoke},
		"manage":       {l.Requests, streams.ConsumerManage},
		"poll":         {l.Parked, streams.ConsumerPoll},
		"resubmit":     {l.Parked, streams.ConsumerResubmit},
		"revoke-again": {l.Parked, streams.ConsumerRevokeAgain},
		"manage-again": {l.Parked, streams.ConsumerManageAgain},
	}
}

// Lanes returns the names of a worker's lanes.
func Lanes() []string {
	return []string{"issue", "revoke", "manage", "poll", "resubmit", "revoke-again", "manage-again"}
}

// Bus is what the gauges of the bus are read from.
type Bus struct {
	JS      jetstream.JetStream
	Layout  streams.Layout
	Letters *deadletter.Box
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
	for lane, at := range consumers(b.Layout) {
		c, err := b.JS.Consumer(ctx, at[0], at[1])
		if err != nil {
			return fmt.Errorf("reading the consumer %s: %w", at[1], err)
		}
		info := c.CachedInfo()
		m.pending.WithLabelValues(lane).Set(float64(info.NumPending))
		m.unacked.WithLabelValues(lane).Set(float64(info.NumAckPending))
	}
	return nil
}

// observeAges measures how long the oldest message of each lane waits for its end. A
// message that is done with has left the stream, so that the first one behind the
// consumer's floor is the oldest.
func (m *Worker) observeAges(ctx context.Context, b Bus) error {
	for lane, at := range consumers(b.Layout) {
		c, err := b.JS.Consumer(ctx, at[0], at[1])
		if err != nil {
			return fmt.Errorf("reading the consumer %s: %w", at[1], err)
		}
		info, oldest := c.CachedInfo(), time.Time{}
		if info.NumPending > 0 || info.NumAckPending > 0 {
			st, err := b.JS.Stream(ctx, at[0])
			if err != nil {
				return fmt.Errorf("reading the stream %s: %w", at[0], err)
			}
			for _, filter := range append(info.Config.FilterSubjects, info.Config.FilterSubject) {
				if filter == "" {
					continue
				}
				msg, err := st.GetMsg(ctx, info.AckFloor.Stream+1, jetstream.WithGetMsgSubject(filter))
				switch {
				case errors.Is(err, jetstream.ErrMsgNotFound):
				case err != nil:
					return fmt.Errorf("reading the oldest message of the lane %s: %w", lane, err)
				case oldest.IsZero() || msg.Time.Before(oldest):
					oldest = msg.Time
				}
			}
		}
		age := 0.0
		if !oldest.IsZero() {
			age = max(0, time.Since(oldest).Seconds())
		}
		m.age.WithLabelValues(lane).Set(age)
	}
	return nil
}

// observeParked counts what the parked stream holds: wake-ups, and due messages that
// are not acknowledged yet. Each stands for one order, but for the moment between a due
// message and the next wake-up.
func (m *Worker) observeParked(ctx context.Context, b Bus) error {
	st, err := b.JS.Stream(ctx, b.Layout.Parked)
	if err != nil {
		return fmt.Errorf("reading the stream %s: %w", b.Layout.Parked, err)
	}
	m.waiting.Set(float64(st.CachedInfo().State.Msgs))
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
	depths, err := b.Letters.Depths(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(depths, func(d deadletter.Depth) bool { return d.Reason == deadletter.Other }) {
		depths = append(depths, deadletter.Depth{Reason: deadletter.Other}) // gone, if there were any
	}
	for _, d := range depths {
		m.letters.WithLabelValues(string(d.Reason)).Set(float64(d.Letters))
		m.fullest.WithLabelValues(string(d.Reason)).Set(float64(d.Most) / float64(b.Layout.DeadPerReason))
		age := 0.0
		if !d.Oldest.IsZero() {
			age = time.Since(d.Oldest).Seconds()
		}
		m.letterAge.WithLabelValues(string(d.Reason)).Set(age)
	}
	return nil
}
