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

// Two ways to schedule look safer than the one in this package, and lose orders on nats-server
// 2.15. This test keeps one of them, so that no change brings it back. The other needs a race;
// docs/parking.md describes it. When this test fails, the server has changed.

// A target rollup keeps one due message for each order. When the message that it removes is in
// flight, the consumer forgets other messages in flight. After a hand-back, those never come
// again. Without the rollup they do.
func TestVariantTargetRollupLosesWakeUps(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		rollup string
		want   []string // of a and b, those that come again
	}{
		{"as this package schedules", "", []string{"a", "b"}},
		{"with a target rollup", "sub", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := setup(t, testbed.Start(t))
			ctx := t.Context()
			patient := r.due.CachedInfo().Config
			patient.AckWait = time.Minute // no redelivery, however slow the machine is
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
			var inFlight []jetstream.Msg // not acknowledged
			for _, id := range []string{"a", "b", "c"} {
				fire(id)
				inFlight = append(inFlight, take())
			}
			b, err := inFlight[1].Metadata()
			if err != nil {
				t.Fatal(err)
			}
			// Another wake-up of c fires meanwhile. The server removes rolled-up messages from
			// the consumer's list in two ways at once. It forgets the others only when one of
			// them comes first: mostly the first time.
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
			for _, m := range inFlight[:2] {
				if err := m.Nak(); err != nil {
					t.Fatal(err)
				}
			}
			var back []string
			for len(back) < len(inFlight[:2]) {
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
