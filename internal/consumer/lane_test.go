package consumer

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/entrust-worker/entrust-worker/internal/metrics"
	"github.com/entrust-worker/entrust-worker/internal/order"
)

func repeated() *delivery {
	return &delivery{msg: message{m: nats.NewMsg("entrust.request.shop.issue")}, deliveries: ordinary + 1, stream: "S", sequence: 7, published: time.Unix(1, 0)}
}

// The time that a poison message waits for all others grows with its age, up to the longest
// call. Each time it then rests for four times that.
func TestPoisonWaitsForItsTurn(t *testing.T) {
	t.Parallel()
	p := newPoison(nil, 3*time.Second)
	if !p.running.TryAcquire(1) { // another message is in flight
		t.Fatal("nothing is in flight, and yet it is taken")
	}
	for _, row := range []struct{ age, rest time.Duration }{
		{0, 4 * shortest},
		{time.Hour, 4 * 3 * time.Second},
	} {
		var wait *laterError
		if err := p.acquire(t.Context(), try{parts: everything}, row.age); !errors.As(err, &wait) || wait.after != row.rest {
			t.Errorf("of age %s it ended as %v, want a rest of %s", row.age, err, row.rest)
		}
		if !p.running.TryAcquire(1) {
			t.Fatal("nothing else can be handled while it rests")
		}
		p.running.Release(1)
	}
}

// A reserved message continues while another waits to run alone, and while that one runs with
// others behind it.
func TestReservedNeverWaits(t *testing.T) {
	t.Parallel()
	p := newPoison(nil, time.Minute)
	if !p.running.TryAcquire(1) {
		t.Fatal("nothing is in flight, and yet it is taken")
	}
	stop, cancel := context.WithCancel(t.Context())
	alone := make(chan error)
	go func() { alone <- p.acquire(stop, try{parts: everything}, time.Hour) }()
	for p.running.TryAcquire(1) { // until the other waits
		p.running.Release(1)
		time.Sleep(time.Millisecond)
	}
	at, end := context.WithTimeout(t.Context(), time.Second)
	defer end()
	if err := p.acquire(at, try{}, 0); err != nil {
		t.Errorf("a reserved message waits: %v", err)
	}
	p.end(try{})
	cancel()
	if err := <-alone; err == nil {
		t.Error("a message ran alone beside another one")
	}
}

// A panic before a message is handled ends that try, not the process.
func TestPanicBeforeHandling(t *testing.T) {
	t.Parallel()
	w := &Worker{log: slog.New(slog.DiscardHandler), throttle: new(throttling), poison: newPoison(nil, time.Minute)} // no server: a nil pointer
	l := &lane{name: "manage", handle: func(context.Context, *delivery) error { return nil }}
	d := repeated()
	d.lane = l
	if err := w.guard(t.Context(), t.Context(), d); err == nil {
		t.Error("a panic ended as if nothing had happened")
	}
}

// A message that is in flight longer than its calls explain is counted, and logged once with
// what it waits for.
func TestWedgedMessage(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	registry := prometheus.NewRegistry()
	w := &Worker{log: slog.New(slog.NewTextHandler(&out, nil)), metrics: metrics.New(registry)}
	if err := w.cfg.setDefaults(); err == nil { // it sets the defaults although the CA is missing
		t.Fatal("a configuration without a CA passes")
	}
	limit := w.cfg.wedgedAfter() // 135 s of lease, 120 s of a call and of one before it, a minute
	if limit != 435*time.Second {
		t.Errorf("messages may be in flight for %s, want 7m15s", limit)
	}
	l := &lane{name: "issue"}
	begun := time.Now()
	d, recent := repeated(), repeated()
	d.begun, recent.begun = begun, begun.Add(limit)
	h := &handling{w: w, d: d}
	h.doing("step", string(order.StepResult))
	for _, row := range []struct {
		in            time.Duration
		inFlight      []*delivery
		counted, said int
	}{
		{limit, []*delivery{d, recent}, 0, 0},
		{limit + time.Second, []*delivery{d, recent}, 1, 1},
		{limit + time.Hour, []*delivery{d, recent}, 2, 2}, // now the other one too, each once
		{limit + 2*time.Hour, []*delivery{d}, 1, 2},
		{limit + 3*time.Hour, nil, 0, 2},
	} {
		w.findWedged(t.Context(), l, row.inFlight, begun.Add(row.in))
		if n := gauge(t, registry, "entrust_worker_wedged_messages", "issue"); n != float64(row.counted) {
			t.Errorf("after %s the metric counts %v, want %d", row.in, n, row.counted)
		}
		if n := strings.Count(out.String(), "in flight for longer"); n != row.said {
			t.Errorf("after %s the log has %d lines, want %d:\n%s", row.in, n, row.said, &out)
		}
	}
	if !strings.Contains(out.String(), `waits_for="step result"`) || !strings.Contains(out.String(), "lane=issue") {
		t.Errorf("the log does not say what it waits for:\n%s", &out)
	}
}

// gauge is the value of a metric of a lane.
func gauge(t *testing.T, registry *prometheus.Registry, name, lane string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && m.GetLabel()[0].GetValue() == lane {
				return m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("there is no metric %s of the lane %s", name, lane)
	return 0
}
