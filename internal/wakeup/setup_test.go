package wakeup_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/wakeup"
)

// rig is a store of wake-ups on a real server.
type rig struct {
	t      *testing.T
	js     jetstream.JetStream
	layout streams.Layout
	store  *wakeup.Store
	due    jetstream.Consumer // of the lane of polls
}

func setup(t *testing.T, server *testbed.Server) *rig {
	t.Helper()
	r := &rig{t: t, js: server.JetStream(t), layout: streams.DefaultLayout()}
	r.layout.AckWait, r.layout.RequestsMaxBytes = time.Second, 1<<20
	if _, err := streams.Provision(t.Context(), r.js, r.layout); err != nil {
		t.Fatal(err)
	}
	r.store = wakeup.New(r.js, r.layout.Parked, r.layout.Subjects())
	r.due = r.lane(order.LanePoll)
	return r
}

// lane is the consumer of a lane.
func (r *rig) lane(lane order.Lane) jetstream.Consumer {
	r.t.Helper()
	c, err := r.js.Consumer(r.t.Context(), r.layout.Parked, streams.DueConsumer(string(lane)))
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// wake is a wake-up with every field but Observed set.
func wake(id string, due time.Time) *order.Wakeup {
	return &order.Wakeup{
		Key: order.Key{Producer: "shop", ID: id}, Kind: entrustbus.KindIssue, Lane: order.LanePoll, Phase: order.Awaiting, Generation: 2,
		Due: due.UTC(), Deadline: due.Add(time.Hour).UTC(), Polls: 3, RequestedAt: due.Add(-time.Hour).UTC(), TrackingID: "T-1",
		Request: &order.Message{
			Subject: "entrust.request.shop.issue", Body: []byte(`{"id":"x"}`),
			Header: map[string][]string{"Content-Type": {"application/json"}, "Nats-Msg-Id": {"shop.x"}, "traceparent": {"00-1-2-3"}, "Entrust-Replay": {"2"}},
		},
	}
}

func (r *rig) schedule(w *order.Wakeup) {
	r.t.Helper()
	if err := r.store.Schedule(r.t.Context(), w); err != nil {
		r.t.Fatal(err)
	}
}

// wakes checks whether something wakes a generation of an order.
func (r *rig) wakes(key order.Key, generation int, want bool, when string) {
	r.t.Helper()
	if got, err := r.store.Wakes(r.t.Context(), key, generation); err != nil || got != want {
		r.t.Errorf("%s: generation %d of %s is woken: %v (%v), want %v", when, generation, key, got, err, want)
	}
}

// next waits for a due message.
func (r *rig) next(from jetstream.Consumer) (*order.Wakeup, jetstream.Msg) {
	r.t.Helper()
	m, err := from.Next(jetstream.FetchMaxWait(10 * time.Second))
	if err != nil {
		r.t.Fatalf("waiting for a due message: %v", err)
	}
	w, err := r.store.Read(m.Subject(), m.Headers(), m.Data())
	if err != nil {
		r.t.Fatal(err)
	}
	return w, m
}

// patient makes the server wait for acks: it redelivers nothing, however slow the machine is.
func (r *rig) patient() {
	r.t.Helper()
	config := r.due.CachedInfo().Config
	config.AckWait = time.Minute
	var err error
	if r.due, err = r.js.UpdateConsumer(r.t.Context(), r.layout.Parked, config); err != nil {
		r.t.Fatal(err)
	}
}

// fired checks that the next due message is that of an order, and acknowledges it.
func (r *rig) fired(id string) {
	r.t.Helper()
	w, m := r.next(r.due)
	if w.Key.ID != id {
		r.t.Fatalf("%s was woken, want %s", w.Key.ID, id)
	}
	r.ack(m)
}

func (r *rig) ack(m jetstream.Msg) {
	r.t.Helper()
	if err := m.DoubleAck(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// silent checks that a lane delivers nothing.
func (r *rig) silent(from jetstream.Consumer) {
	r.t.Helper()
	if m, err := from.Next(jetstream.FetchMaxWait(500 * time.Millisecond)); err == nil {
		r.t.Fatalf("a due message came on %s", m.Subject())
	}
}

// all runs one scan.
func (r *rig) all() (found []wakeup.Found) {
	r.t.Helper()
	for f, err := range r.store.All(r.t.Context()) {
		if err != nil {
			r.t.Fatal(err)
		}
		found = append(found, f)
	}
	return found
}
