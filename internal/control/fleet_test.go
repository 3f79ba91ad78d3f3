package control_test

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/throttle"
)

var _ throttle.Shared = (*control.Bucket)(nil)

// member is one worker's control bucket and throttle, wired as a worker wires them.
type member struct {
	*throttle.Breakers
	bucket *control.Bucket
	stops  *throttle.Stops
	rate   *throttle.Rate

	mu     sync.Mutex
	enroll throttle.State // state of the breaker of enrollments at ca-1
}

func join(t *testing.T, js jetstream.JetStream, id string) *member {
	t.Helper()
	m := &member{
		bucket: control.Open(control.Config{JS: js, Bucket: "ENTRUST_CONTROL", Worker: id, Gateway: "https://gateway.example", Log: slog.New(slog.DiscardHandler)}),
		stops:  new(throttle.Stops), rate: throttle.NewRate(0, 100),
	}
	prober := throttle.NewProber(func(context.Context) error { return nil }, m.stops, nil)
	m.Breakers = throttle.NewBreakers(throttle.Config{
		CAs: []string{"ca-1"}, Shared: m.bucket, Prober: prober, Stops: m.stops, OnChange: m.changed,
	})
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { prober.Run(ctx) })
	all.Go(func() { m.Run(ctx) })
	all.Go(func() {
		m.bucket.Run(ctx, control.Handlers{
			Workers:       m.rate.SetWorkers,
			Paused:        func(left time.Duration) { m.stops.Pause(left) },
			PauseEnded:    m.stops.EndPause,
			BreakerOpened: m.Opened,
			BreakerClosed: m.ClosedBy,
			Synced:        m.Synced,
		})
	})
	t.Cleanup(func() { cancel(); all.Wait() })
	return m
}

func (m *member) changed(c throttle.Change) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c.Operation == throttle.Enroll && c.CA == "ca-1" && c.Producer == "" {
		m.enroll = c.To
	}
}

func (m *member) state() throttle.State {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.enroll
}

// Two workers on a real bucket: one opens its breaker, both are open, one canary closes
// both, and the pause of one stops the other. Meanwhile the bucket is lost and made
// again.
func TestWorkersShareBreakersAndPauses(t *testing.T) {
	t.Parallel()
	server := testbed.Start(t)
	js := server.JetStream(t)
	layout := streams.DefaultLayout()
	layout.RequestsMaxBytes = 1 << 20
	provision := func() {
		t.Helper()
		if _, err := streams.Provision(t.Context(), js, layout); err != nil {
			t.Fatal(err)
		}
	}
	provision()
	a, b := join(t, server.JetStream(t), "a"), join(t, server.JetStream(t), "b")
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	until := func(what string, ok func() bool) {
		t.Helper()
		for !ok() {
			select {
			case <-ctx.Done():
				t.Fatalf("never came: %s", what)
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	until("both share the rate", func() bool { return a.rate.PerSecond() == 50 && b.rate.PerSecond() == 50 })

	down := errors.New("500")
	for range 5 {
		if err := a.Wait(ctx, "issue", throttle.Enroll); err != nil {
			t.Fatal(err)
		}
		p, err := a.Admit(ctx, throttle.Enroll, throttle.Scope{Producer: "shop", CA: "ca-1"})
		if err != nil {
			t.Fatal(err)
		}
		p.Done(throttle.Bad(down))
	}
	until("both open", func() bool { return a.state() == throttle.Open && b.state() == throttle.Open })

	// State that both workers know survives the loss of the bucket.
	if err := js.DeleteKeyValue(ctx, layout.Control); err != nil {
		t.Fatal(err)
	}
	provision()
	kv, err := js.KeyValue(ctx, layout.Control)
	if err != nil {
		t.Fatal(err)
	}
	until("the opening in the new bucket", func() bool {
		_, err := kv.Get(ctx, "breaker.enroll.ca-1")
		return err == nil
	})

	var canary *throttle.Permit
	for canary == nil {
		if err := b.Wait(ctx, "issue", throttle.Enroll); err != nil {
			t.Fatal(err)
		}
		canary, err = b.Admit(ctx, throttle.Enroll, throttle.Scope{Producer: "other", CA: "ca-1"})
		if e, ok := errors.AsType[*throttle.OpenError](err); err != nil && (!ok || e.RetryIn <= 0) {
			t.Fatal(err)
		}
	}
	canary.Done(throttle.Good())
	until("both in their ramp-up", func() bool { return a.state() == throttle.HalfOpen && b.state() == throttle.HalfOpen })
	for range 15 {
		p, err := a.Admit(ctx, throttle.Enroll, throttle.Scope{Producer: "shop", CA: "ca-1"})
		if err != nil {
			t.Fatal(err)
		}
		p.Done(throttle.Good())
	}
	until("the end of the ramp-up", func() bool { return a.state() == throttle.Closed })
	if room := a.Room("issue", throttle.Enroll); room != math.MaxInt {
		t.Errorf("after the ramp-up there is room for %d calls", room)
	}

	a.stops.Pause(time.Minute)
	if err := a.bucket.Pause(ctx, time.Minute); err != nil {
		t.Fatal(err)
	}
	until("the pause at the other", func() bool { return b.stops.PauseLeft() > 50*time.Second })
	if _, err := b.Admit(ctx, throttle.Poll, throttle.Scope{Producer: "shop", CA: "ca-1"}); !errors.Is(err, throttle.ErrPaused) {
		t.Errorf("in a pause: %v", err)
	}
	keys, err := kv.ListKeysFiltered(ctx, "pause.*")
	if err != nil {
		t.Fatal(err)
	}
	for key := range keys.Keys() {
		if err := kv.Delete(ctx, key); err != nil {
			t.Fatal(err)
		}
	}
	until("the end of the pause at both", func() bool { return a.stops.PauseLeft() == 0 && b.stops.PauseLeft() == 0 })
}
