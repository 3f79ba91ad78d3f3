package parking_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/parking"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// rig is a parking lot on a real server.
type rig struct {
	t      *testing.T
	js     jetstream.JetStream
	layout streams.Layout
	lot    *parking.Lot
	due    jetstream.Consumer
}

func setup(t *testing.T, server *testbed.Server) *rig {
	t.Helper()
	r := &rig{t: t, js: server.JetStream(t), layout: streams.DefaultLayout()}
	r.layout.AckWait, r.layout.RequestsMaxBytes = time.Second, 1<<20
	if _, err := streams.Provision(t.Context(), r.js, r.layout); err != nil {
		t.Fatal(err)
	}
	r.lot = parking.New(r.js, r.layout.Parked, r.layout.Subjects())
	var err error
	if r.due, err = r.js.Consumer(t.Context(), r.layout.Parked, streams.ConsumerDue); err != nil {
		t.Fatal(err)
	}
	return r
}

func slot(id string, due time.Time) *parking.Slot {
	return &parking.Slot{
		Key: ledger.Key{Producer: "shop", ID: id}, Kind: entrustbus.KindIssue, Due: due, Deadline: due.Add(time.Hour),
		Attempt: 3, TrackingID: "T-1", Replay: 2,
		Request: &ledger.Request{
			Subject: "entrust.request.shop.issue", Body: []byte(`{"id":"x"}`),
			Header: map[string][]string{"Content-Type": {"application/json"}, "Nats-Msg-Id": {"shop.x"}, "traceparent": {"00-1-2-3"}, "Entrust-Replay": {"2"}},
		},
	}
}

func (r *rig) arm(s *parking.Slot) {
	r.t.Helper()
	if err := r.lot.Arm(r.t.Context(), s); err != nil {
		r.t.Fatal(err)
	}
}

// next waits for a wake-up.
func (r *rig) next(within time.Duration) (*parking.Slot, jetstream.Msg) {
	r.t.Helper()
	m, err := r.due.Next(jetstream.FetchMaxWait(within))
	if err != nil {
		r.t.Fatalf("waiting for a wake-up: %v", err)
	}
	s, err := r.lot.Due(m.Subject(), m.Headers(), m.Data())
	if err != nil {
		r.t.Fatal(err)
	}
	return s, m
}

// patient makes the server wait for acks: nothing comes back by itself, however
// slow the machine.
func (r *rig) patient() {
	r.t.Helper()
	config := r.due.CachedInfo().Config
	config.AckWait = time.Minute
	var err error
	if r.due, err = r.js.UpdateConsumer(r.t.Context(), r.layout.Parked, config); err != nil {
		r.t.Fatal(err)
	}
}

// fired checks that the next wake-up is that of an order, and takes it.
func (r *rig) fired(id string) {
	r.t.Helper()
	s, m := r.next(10 * time.Second)
	if s.Key.ID != id {
		r.t.Fatalf("%s was woken, want %s", s.Key.ID, id)
	}
	if err := m.DoubleAck(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// silent checks that no wake-up comes.
func (r *rig) silent(within time.Duration) {
	r.t.Helper()
	if m, err := r.due.Next(jetstream.FetchMaxWait(within)); err == nil {
		r.t.Fatalf("a wake-up came on %s", m.Subject())
	}
}
