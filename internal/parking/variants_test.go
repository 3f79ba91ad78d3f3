package parking_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/natstest"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// Two ways to park look safer than the one this package uses, and lose orders
// on nats-server 2.15. They are kept here as programs, so that nobody brings
// them back; the day that one of these tests fails, the server has changed.

// A target rollup keeps one wake-up for each order, which looks tidy. Where the
// wake-up that it removes is in a worker's hands, the consumer forgets others
// that are, too: they never come back. Without the rollup they do.
func TestVariantTargetRollupLosesWakeUps(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		rollup string
		want   []string // what comes back after the ack wait
	}{
		{"as this package parks", "", []string{"a", "b", "c"}},
		{"with a target rollup", "sub", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := setup(t, natstest.Start(t))
			ctx := t.Context()
			fire := func(id string) {
				t.Helper()
				msg := nats.NewMsg(r.layout.Subjects().Parked("shop", id))
				msg.Header.Set("Nats-Schedule", "@at "+time.Now().UTC().Format(time.RFC3339Nano))
				msg.Header.Set("Nats-Schedule-Target", r.layout.Subjects().Due("shop", id))
				if tc.rollup != "" {
					msg.Header.Set("Nats-Schedule-Rollup", tc.rollup)
				}
				if _, err := r.js.PublishMsg(ctx, msg); err != nil {
					t.Fatal(err)
				}
			}
			take := func() jetstream.Msg {
				t.Helper()
				m, err := r.due.Next(jetstream.FetchMaxWait(5 * time.Second))
				if err != nil {
					t.Fatal(err)
				}
				return m
			}
			for _, id := range []string{"a", "b", "c"} {
				fire(id)
				take() // in a worker's hands, not acked
			}
			fire("c") // another slot of c fires meanwhile
			if err := take().DoubleAck(ctx); err != nil {
				t.Fatal(err)
			}
			var back []string
			for {
				m, err := r.due.Next(jetstream.FetchMaxWait(2500 * time.Millisecond))
				if err != nil {
					break
				}
				_, id, err := r.layout.Subjects().ParseOrder(m.Subject())
				if err != nil {
					t.Fatal(err)
				}
				back = append(back, id)
				if err := m.DoubleAck(ctx); err != nil {
					t.Fatal(err)
				}
			}
			slices.Sort(back)
			if fmt.Sprint(back) != fmt.Sprint(tc.want) {
				t.Errorf("%v came back, want %v", back, tc.want)
			}
		})
	}
}

// An expected sequence of 0 looks like the way not to park twice. On a
// replicated stream a wake-up can reach a worker before the stream's leader has
// applied the purge of its slot, and the re-park is refused although nothing is
// parked. Whoever takes that for "parked already" and acks loses the order.
func TestVariantExpectedSequenceRefusesFreeSlots(t *testing.T) {
	if testing.Short() {
		t.Skip("a cluster of three servers")
	}
	t.Parallel()
	cluster := natstest.StartCluster(t, 3)
	js := cluster.JetStream(t)
	layout := streams.DefaultLayout()
	layout.Replicas = 3
	if _, err := streams.Provision(t.Context(), js, layout); err != nil {
		t.Fatal(err)
	}
	// The refusal shows where the consumer's leader is not the stream's: then
	// the wake-up does not wait for the stream's leader to apply the fire.
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	due, err := js.Consumer(ctx, layout.Parked, streams.ConsumerDue)
	if err != nil {
		t.Fatal(err)
	}
	arm := func(id string, opts ...jetstream.PublishOpt) error {
		msg := nats.NewMsg(layout.Subjects().Parked("shop", id))
		msg.Header.Set("Nats-Schedule", "@at "+time.Now().Add(50*time.Millisecond).UTC().Format(time.RFC3339Nano))
		msg.Header.Set("Nats-Schedule-Target", layout.Subjects().Due("shop", id))
		_, err := js.PublishMsg(ctx, msg, opts...)
		return err
	}
	for i := range 200 {
		if err := arm(fmt.Sprint("o", i)); err != nil {
			t.Fatal(err)
		}
	}
	var refused, parked atomic.Int64
	cc, err := due.Consume(func(m jetstream.Msg) {
		_, id, err := layout.Subjects().ParseOrder(m.Subject())
		if err != nil {
			t.Error(err)
			return
		}
		// The slot has fired, so it is free; nobody else parks this order.
		switch err := arm(id, jetstream.WithExpectLastSequencePerSubject(0)); {
		case err == nil:
			parked.Add(1)
		case streams.IsConflict(err):
			refused.Add(1)
			cancel()
		case !errors.Is(err, context.Canceled):
			t.Logf("parking again: %v", err)
		}
		if err := m.Ack(); err != nil {
			t.Log(err)
		}
	}, jetstream.PullMaxMessages(64))
	if err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
	cc.Stop()
	t.Logf("%d re-parks were taken before one was refused", parked.Load())
	if refused.Load() == 0 {
		t.Errorf("no re-park of a free slot was refused in %d; the race needs a consumer leader away from the stream's", parked.Load())
	}
}
