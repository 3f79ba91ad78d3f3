package consumer

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// openGate is a gate that calls pass, at so many calls a second.
func openGate(ctx context.Context, t *testing.T, perSecond float64) *gate {
	t.Helper()
	g := newGate(func(context.Context) error { return nil }, perSecond, slog.New(slog.DiscardHandler), func(bool, string) {})
	g.onHold = func(time.Time) {}
	g.stop = ctx
	if !g.try(ctx) {
		t.Fatal("the gate does not open")
	}
	return g
}

// A new request does not queue behind all polls in hand for a token of the rate, nor
// polls behind all requests; and what nobody wants is used by either.
func TestRateIsShared(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name         string
		crowd, other caller
	}{
		{"a request among polls", forPoll, forRequest},
		{"a poll among requests", forRequest, forPoll},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithCancel(t.Context())
				g := openGate(ctx, t, 10)
				// 64 of one kind are in hand all the time.
				var lane sync.WaitGroup
				passed := make(chan struct{}, 1<<12)
				for range 64 {
					lane.Go(func() {
						for g.pass(ctx, row.crowd) == nil {
							passed <- struct{}{}
							time.Sleep(100 * time.Millisecond) // the call
						}
					})
				}
				time.Sleep(time.Minute)
				if n := len(passed); n < 7*60 {
					t.Errorf("%d passed within a minute while nobody else wanted to, of 480", n)
				}
				before := len(passed)
				begun := time.Now()
				const n = 30
				for range n {
					if err := g.pass(ctx, row.other); err != nil {
						t.Fatal(err)
					}
				}
				took := time.Since(begun)
				if row.other == forRequest && took > n*time.Second/3 {
					t.Errorf("%d requests, one after the other, waited %s behind polls", n, took)
				}
				if crowd := float64(len(passed)-before) / took.Seconds(); crowd < 3.5 {
					t.Errorf("the others passed %.1f times a second meanwhile, of 8", crowd)
				}
				stop()
				lane.Wait()
			})
		})
	}
}

// A poll gets its turn although requests never stop, and half of the rate where
// polls never stop either.
func TestBothLanesFull(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		g := openGate(ctx, t, 10)
		var lanes sync.WaitGroup
		var mu sync.Mutex
		passed := map[caller]int{}
		for _, who := range []caller{forRequest, forPoll} {
			for range 64 {
				lanes.Go(func() {
					for g.pass(ctx, who) == nil {
						mu.Lock()
						passed[who]++
						mu.Unlock()
					}
				})
			}
		}
		time.Sleep(5 * time.Minute)
		stop()
		lanes.Wait()
		for who, n := range passed {
			if n < 800 { // of 2400
				t.Errorf("%d passed for %v, of %v", n, who, passed)
			}
		}
	})
}

// A probe waits for the pause that the gateway asked for, of a call or of a probe.
func TestProbeHeedsPauses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		begun := time.Now()
		var probes []time.Duration
		g := newGate(func(context.Context) error {
			if probes = append(probes, time.Since(begun)); len(probes) == 1 {
				return &gateway.Error{Op: gateway.OpProbe, Fate: gateway.Throttled, Class: "rate_limited", HTTPStatus: 429, RetryAfter: time.Hour}
			}
			return nil
		}, 0, slog.New(slog.DiscardHandler), func(bool, string) {})
		g.onHold = func(time.Time) {}
		g.stop = ctx
		g.holdUntil(begun.Add(10 * time.Minute))
		var prober sync.WaitGroup
		prober.Go(func() { g.run(ctx) })
		if err := g.pass(ctx, forRevocation); err != nil {
			t.Fatal(err)
		}
		if len(probes) != 2 || probes[0] != 10*time.Minute || probes[1] < 70*time.Minute {
			t.Errorf("probes were made after %v, want after 10m and 1h10m", probes)
		}
		stop()
		prober.Wait()
	})
}

// A probe that a stop cuts off says nothing of the gateway.
func TestProbeCutOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		ctx, stop := context.WithCancel(t.Context())
		g := newGate(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, 0, slog.New(slog.NewTextHandler(&log, nil)), func(bool, string) {})
		g.stop = ctx
		var prober sync.WaitGroup
		prober.Go(func() { g.run(ctx) })
		synctest.Wait()
		stop()
		prober.Wait()
		if strings.Contains(log.String(), "does not answer") {
			t.Errorf("the log says %s", &log)
		}
	})
}

// What is tried with nothing else in hand does not wait at a gate that is shut.
func TestAloneAtTheGate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := openGate(t.Context(), t, 0)
		ctx := context.WithValue(t.Context(), alone{}, true)
		if err := g.pass(ctx, forRequest); err != nil {
			t.Fatal(err)
		}
		g.report(&gateway.Error{Op: gateway.OpEnroll, Fate: gateway.Unauthorized, Class: "auth", HTTPStatus: 401})
		var wait *laterError
		if err := g.pass(ctx, forRequest); !errors.As(err, &wait) {
			t.Errorf("passing a shut gate: %v, want later", err)
		}
	})
}

// A worker whose key somebody removes still counts itself: its part of the rate is
// the whole, and never no limit.
func TestOwnPresencePurged(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	js := testbed.Start(t).JetStream(t)
	kv, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "CONTROL", LimitMarkerTTL: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	g := openGate(ctx, t, 0)
	held := make(chan struct{})
	g.onHold = func(time.Time) { close(held) }
	f := newFleet(js, "CONTROL", "me", 0, 10, g, slog.New(slog.DiscardHandler))
	var watch sync.WaitGroup
	watch.Go(func() { f.run(ctx) })
	defer watch.Wait()
	defer stop()
	keys, err := kv.Watch(ctx, workerPrefix+"me", jetstream.IgnoreDeletes())
	if err != nil {
		t.Fatal(err)
	}
	for e := range keys.Updates() {
		if e != nil {
			break
		}
	}
	if err := kv.Purge(ctx, workerPrefix+"me"); err != nil {
		t.Fatal(err)
	}
	// What is written after it is seen after it.
	if _, err := kv.PutString(ctx, holdKey, time.Now().Add(time.Hour).Format(time.RFC3339Nano)); err != nil {
		t.Fatal(err)
	}
	<-held
	g.mu.Lock()
	limit := float64(g.limit.Limit())
	g.mu.Unlock()
	if limit != 10 {
		t.Errorf("the worker may make %v calls a second, want 10", limit)
	}
	f.share(0)
	if limit := float64(g.limit.Limit()); math.IsInf(limit, 0) || limit != 10 {
		t.Errorf("without any worker the limit is %v calls a second, want 10", limit)
	}
}
