package wakeup_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/wakeup"
)

// Times are not cut to seconds: a wake-up that is due between two seconds fires after that.
func TestNeverEarly(t *testing.T) {
	t.Parallel()
	r := setup(t, testbed.Start(t))
	base := time.Now().Truncate(time.Second).Add(2 * time.Second)
	for i := range 10 {
		r.schedule(wake(fmt.Sprint("s", i), base.Add(time.Duration(i)*99*time.Millisecond)))
	}
	for range 10 {
		w, m := r.next(r.due)
		if now := time.Now(); now.Before(w.Due) {
			t.Errorf("%s came %s early", w.Key, w.Due.Sub(now))
		}
		if err := m.Ack(); err != nil {
			t.Fatal(err)
		}
	}
}

// An order has one wake-up: a new schedule replaces its time and lane.
func TestScheduleReplaces(t *testing.T) {
	t.Parallel()
	r := setup(t, testbed.Start(t))
	first := wake("x", time.Now().Add(time.Hour))
	first.Lane = order.LaneResubmit
	r.schedule(first)
	second := wake("x", time.Now().Add(200*time.Millisecond))
	second.Polls = 9
	r.schedule(second)
	got, m := r.next(r.due)
	if got.Polls != 9 {
		t.Errorf("the wake-up of poll %d fired", got.Polls)
	}
	r.ack(m)
	r.silent(r.due)
	if n := len(r.all()); n != 0 {
		t.Errorf("%d messages are left of one order", n)
	}
}

// A wake-up that was cancelled and scheduled again fires: it has no message id that the server
// could take for a duplicate.
func TestScheduleAfterCancel(t *testing.T) {
	t.Parallel()
	r := setup(t, testbed.Start(t))
	w := wake("x", time.Now().Add(500*time.Millisecond))
	r.schedule(w)
	if err := r.store.Cancel(t.Context(), w.Key, w.Generation); err != nil {
		t.Fatal(err)
	}
	r.wakes(w.Key, w.Generation, false, "after its removal")
	if found, _, err := r.store.Find(t.Context(), w.Key); err != nil || found != nil {
		t.Errorf("found %+v, %v after its removal", found, err)
	}
	<-time.After(time.Until(w.Due)) // it would fire now
	r.silent(r.due)
	r.schedule(wake("x", time.Now().Add(100*time.Millisecond)))
	_, m := r.next(r.due)
	r.wakes(w.Key, w.Generation, true, "a due message in flight")
	r.wakes(w.Key, w.Generation+1, false, "a due message of an earlier generation")
	// The end of the order leaves its due message alone: a purge would make the consumer forget
	// others.
	if err := r.store.Cancel(t.Context(), w.Key, w.Generation); err != nil {
		t.Fatal(err)
	}
	r.wakes(w.Key, w.Generation, true, "a due message in flight after a cancel")
	r.ack(m)
}

// The end of one generation leaves the wake-up alone that a replay of the order scheduled
// meanwhile.
func TestCancelSparesLaterGenerations(t *testing.T) {
	t.Parallel()
	r := setup(t, testbed.Start(t))
	w := wake("x", time.Now().Add(time.Hour))
	r.schedule(w)
	neighbour := wake("xy", time.Now().Add(time.Hour))
	r.schedule(neighbour)
	for _, row := range []struct {
		generation int
		wakes      bool
	}{{w.Generation - 1, true}, {w.Generation, false}, {w.Generation, false}} {
		if err := r.store.Cancel(t.Context(), w.Key, row.generation); err != nil {
			t.Fatal(err)
		}
		r.wakes(w.Key, w.Generation, row.wakes, fmt.Sprint("after the end of generation ", row.generation))
	}
	r.schedule(w)
	if err := r.store.Cancel(t.Context(), w.Key, w.Generation+1); err != nil {
		t.Fatal(err)
	}
	r.wakes(w.Key, w.Generation, false, "after the end of a later generation")
	r.wakes(neighbour.Key, neighbour.Generation, true, "another order")
}

// A wake-up that is replaced at the moment it fires may lose its new time, but a due message
// always comes.
func TestReplaceWhileFiring(t *testing.T) {
	t.Parallel()
	r := setup(t, testbed.Start(t))
	const n = 300
	due := time.Now().Add(1500 * time.Millisecond)
	for i := range n {
		r.schedule(wake(fmt.Sprint("s", i), due))
	}
	<-time.After(time.Until(due.Add(-20 * time.Millisecond)))
	for i := range n {
		r.schedule(wake(fmt.Sprint("s", i), time.Now().Add(time.Second)))
	}
	woken := map[string]bool{}
	for end := time.Now().Add(20 * time.Second); len(woken) < n && time.Now().Before(end); {
		batch, err := r.due.Fetch(100, jetstream.FetchMaxWait(500*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		for m := range batch.Messages() {
			w, err := r.store.Read(m.Subject(), m.Headers(), m.Data())
			if err != nil {
				t.Fatal(err)
			}
			woken[w.Key.ID] = true
			if err := m.Ack(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(woken) != n {
		t.Errorf("%d of %d orders were woken", len(woken), n)
	}
}

// A due message whose ack was lost comes again, and leads to one wake-up.
func TestLostAck(t *testing.T) {
	t.Parallel()
	r := setup(t, testbed.Start(t))
	r.patient()
	r.schedule(wake("x", time.Now()))
	_, first := r.next(r.due)
	r.schedule(wake("x", time.Now().Add(time.Hour))) // the wake-up that its handler scheduled before the ack was lost
	if err := first.Nak(); err != nil {              // like the end of the ack wait
		t.Fatal(err)
	}
	_, again := r.next(r.due)
	if meta, err := again.Metadata(); err != nil || meta.NumDelivered != 2 {
		t.Fatalf("delivered %+v, %v; want the same message again", meta, err)
	}
	r.schedule(wake("x", time.Now())) // of the second handling
	r.ack(again)
	_, last := r.next(r.due)
	r.ack(last)
	if n := len(r.all()); n != 0 {
		t.Errorf("%d messages are left of one order that was woken and acknowledged, want none", n)
	}
}

// Nothing is scheduled when the stream is not the one of wake-ups.
func TestScheduleExpectsItsStream(t *testing.T) {
	t.Parallel()
	r := setup(t, testbed.Start(t))
	other := wakeup.New(r.js, r.layout.Results, r.layout.Subjects())
	if err := other.Schedule(t.Context(), wake("x", time.Now())); err == nil {
		t.Error("a wake-up was stored in another stream than the one named")
	}
}

// Only the leader of its stream knows whether a message is gone: a lagging replica still
// returns it. Here no server answers for a replica.
func TestDiscardAsksTheLeader(t *testing.T) {
	t.Parallel()
	server := testbed.Start(t, `authorization { users: [
		{ user: all, password: s }
		{ user: leader, password: s, permissions: { publish: { deny: "$JS.API.DIRECT.GET.>" } } }
	] }`)
	js := server.JetStream(t, nats.UserInfo("all", "s"))
	layout := streams.DefaultLayout()
	if _, err := streams.Provision(t.Context(), js, layout); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	store := wakeup.New(server.JetStream(t, nats.UserInfo("leader", "s")), layout.Parked, layout.Subjects())
	w := wake("x", time.Now().Add(time.Hour))
	if err := store.Schedule(ctx, w); err != nil {
		t.Fatal(err)
	}
	if wakes, err := store.Wakes(ctx, w.Key, w.Generation); err != nil || !wakes {
		t.Errorf("the leader says that the order is woken: %v, %v", wakes, err)
	}
	if found, _, err := store.Find(ctx, w.Key); err != nil || found == nil {
		t.Errorf("the leader found %+v, %v", found, err)
	}
	for _, sequence := range []uint64{1, 1, 99} { // present, removed, never existed
		if err := store.Discard(ctx, sequence); err != nil {
			t.Errorf("removing message %d: %v", sequence, err)
		}
	}
}
