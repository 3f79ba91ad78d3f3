package consumer_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/consumer"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// deadly is a gateway whose answer to one revocation is the death of the worker
// that sent it; the others take a moment.
type deadly struct {
	consumer.Gateway
	serial int64
	die    func()
}

func (g *deadly) Probe(context.Context) error { return nil }

func (g *deadly) Revoke(ctx context.Context, r gateway.Revocation) error {
	if r.Serial.Cmp(big.NewInt(g.serial)) == 0 {
		g.die()
		<-ctx.Done()
		return ctx.Err()
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(100 * time.Millisecond):
		return nil
	}
}

// Of the messages that a worker holds when it dies, again and again, only the one
// that it dies of ends as crashed. A death is played by cutting the worker's
// connection for good: nothing that it does from then on is heard.
func TestCrashedIsTheOneThatKills(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	const poison, innocents = 9999, 6
	ids := map[string]int64{"poison": poison}
	for i := range int64(innocents) {
		ids[fmt.Sprint("innocent", i)] = 1000 + i
	}
	for id, serial := range ids {
		r.send(&entrustbus.Revoke{ID: id, SerialDecimal: fmt.Sprint(serial)})
	}
	// Deliveries that are not counted yet, without a wait for each.
	cons, err := r.js.Consumer(t.Context(), r.layout.Requests, streams.ConsumerRevoke)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 * len(ids) {
		m, err := cons.Next(jetstream.FetchMaxWait(5 * time.Second))
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Nak(); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	var workers sync.WaitGroup
	t.Cleanup(func() { stop(); workers.Wait() })
	r.cfg.Drain = 100 * time.Millisecond
	var start func()
	start = func() {
		js := r.server.JetStream(t)
		gw := &deadly{serial: poison, die: sync.OnceFunc(func() {
			js.Conn().Close()
			workers.Go(func() {
				if ctx.Err() == nil {
					start()
				}
			})
		})}
		w, err := consumer.New(r.cfg, js, gw, slog.New(slog.NewTextHandler(testWriter{t}, nil)))
		if err != nil {
			t.Error(err)
			return
		}
		workers.Go(func() { _ = w.Run(ctx) })
	}
	start()
	for id := range ids {
		want := entrustbus.OutcomeRevoked
		if id == "poison" {
			want = entrustbus.OutcomeFailed
		}
		if res := r.result(id); res.Outcome != want {
			t.Errorf("%s ended as %s (error %+v), want %s", id, res.Outcome, res.Error, want)
		}
	}
	r.wantLetters(deadletter.Crashed)
}
