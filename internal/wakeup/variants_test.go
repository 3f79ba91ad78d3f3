package wakeup_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// Two ways to schedule look safer than the one this package uses, and lose orders
// on nats-server 2.15. One is kept as this test, so that no change brings it back; the
// other takes a race to show, and docs/parking.md tells of it. The day that this test
// fails, the server has changed.

// A target rollup keeps one due message for each order, which looks tidy. Where the
// one that it removes is in flight, the consumer forgets others
// that are, too: handed back, they never come again. Without the rollup they do.
func TestVariantTargetRollupLosesWakeUps(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		rollup string
		want   []string // what comes back of a and b
	}{
		{"as this package schedules", "", []string{"a", "b"}},
		{"with a target rollup", "sub", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := setup(t, testbed.Start(t))
			ctx := t.Context()
			patient := r.due.CachedInfo().Config
			patient.AckWait = time.Minute // nothing comes back by itself, however slow the machine
			due, err := r.js.UpdateConsumer(ctx, r.layout.Parked, patient)
			if err != nil {
				t.Fatal(err)
			}
			fire := func(id string) {
				t.Helper()
				msg := nats.NewMsg(r.layout.Subjects().Parked("shop", id))
				msg.Header.Set("Nats-Schedule", "@at "+time.Now().UTC().Format(time.RFC3339Nano))
				msg.Header.Set("Nats-Schedule-Target", r.layout.Subjects().Due("poll", "shop", id))
				if tc.rollup != "" {
					msg.Header.Set("Nats-Schedule-Rollup", tc.rollup)
				}
				if _, err := r.js.PublishMsg(ctx, msg); err != nil {
					t.Fatal(err)
				}
			}
			take := func() jetstream.Msg {
				t.Helper()
				m, err := due.Next(jetstream.FetchMaxWait(10 * time.Second))
				if err != nil {
					t.Fatal(err)
				}
				return m
			}
			var hand []jetstream.Msg // in flight, not acked
			for _, id := range []string{"a", "b", "c"} {
				fire(id)
				hand = append(hand, take())
			}
			b, err := hand[1].Metadata()
			if err != nil {
				t.Fatal(err)
			}
			// Another wake-up of c fires meanwhile. The server takes what a rollup removes
			// off the consumer's list in two ways at once, and forgets the others only
			// where the one wins: mostly the first time.
			for range 20 {
				fire("c")
				if err := take().DoubleAck(ctx); err != nil {
					t.Fatal(err)
				}
				info, err := due.Info(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if tc.rollup == "" || info.AckFloor.Stream >= b.Sequence.Stream {
					break
				}
				fire("c")
				take()
			}
			for _, m := range hand[:2] {
				if err := m.Nak(); err != nil {
					t.Fatal(err)
				}
			}
			var back []string
			for len(back) < len(hand[:2]) {
				m, err := due.Next(jetstream.FetchMaxWait(3 * time.Second))
				if err != nil {
					break
				}
				_, _, id, err := r.layout.Subjects().ParseDue(m.Subject())
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
