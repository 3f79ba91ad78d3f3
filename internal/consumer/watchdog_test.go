package consumer_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/consumer"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/parking"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// patience is a schedule under which nothing is due by itself while a test runs.
func (r *rig) patience() {
	r.cfg.Schedule.First, r.cfg.Schedule.Max, r.cfg.MaxWait = time.Hour, 2*time.Hour, 24*time.Hour
	r.cfg.Schedule.RetryAfterMax = 0
}

// lostOrder writes the record of a parked order that has had no slot for a while.
func (r *rig) lostOrder(id string, request ledger.Request) {
	r.t.Helper()
	now := time.Now().UTC()
	request.Subject = r.layout.Subjects().Request(producer, entrustbus.KindIssue)
	body, err := msgpack.Marshal(&ledger.Record{
		State: ledger.Parked, Kind: entrustbus.KindIssue, TrackingID: "T-" + id,
		RequestedAt: now.Add(-time.Hour), UpdatedAt: now.Add(-time.Hour), Deadline: now.Add(24 * time.Hour),
		Request: &request,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	kv, err := r.js.KeyValue(r.t.Context(), r.layout.Orders)
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := kv.Put(r.t.Context(), producer+"."+id, body); err != nil {
		r.t.Fatal(err)
	}
}

// Slots that vanish behind a worker's back are armed again by the worker itself,
// look after look.
func TestWatchdogClosesGaps(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{PendingFraction: 1})
	r.patience()
	r.cfg.WatchdogEvery = time.Second
	r.run()
	r.run()
	lot := parking.New(r.js, r.layout.Parked, r.layout.Subjects())
	l := ledger.New(r.js, r.layout.Orders)
	key := ledger.Key{Producer: producer, ID: "o"}
	r.send(&entrustbus.Issue{ID: key.ID, CSRPEM: csr(t, key.ID)})
	armed := func() bool {
		ok, err := lot.Armed(t.Context(), key, 0)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	r.eventually("the order parked", func() bool { return armed() && r.count(r.layout.Requests) == 0 })
	for range 2 {
		age(t, r, key, 2*time.Minute)
		if err := lot.Disarm(t.Context(), key, 0); err != nil {
			t.Fatal(err)
		}
		r.eventually("the slot armed again", armed)
		if rec, err := l.Get(t.Context(), key); err != nil || rec.State != ledger.Parked {
			t.Fatalf("the order is %+v, %v", rec, err)
		}
	}
}

// A slot that is overdue by more than a minute did not fire: it is armed for now,
// and its order woken up.
func TestWatchdogFreesStuckSlots(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{PendingFraction: 1, ApproveAfter: time.Millisecond})
	r.patience()
	key := r.park("stuck")
	// As a fire that could not be stored leaves a slot: it says that it is due, and
	// the server does nothing about it.
	slot, err := streams.Last(t.Context(), r.js, r.layout.Parked, r.layout.Subjects().Parked(key.Producer, key.ID))
	if err != nil {
		t.Fatal(err)
	}
	late := &nats.Msg{Subject: slot.Subject, Header: slot.Header, Data: slot.Data}
	delete(late.Header, "Nats-Expected-Stream")
	late.Header.Set(entrustbus.HeaderDue, time.Now().UTC().Format(time.RFC3339Nano))
	if _, err := r.js.PublishMsg(t.Context(), late); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(late.Header.Get("Nats-Schedule"), late.Header.Get(entrustbus.HeaderDue)) {
		t.Fatal("the slot would fire by itself")
	}
	w := r.worker()
	if got, err := w.Watch(t.Context()); err != nil || got != (consumer.Repairs{}) {
		t.Fatalf("a slot that may still fire was repaired: %+v, %v", got, err)
	}
	late.Header.Set(entrustbus.HeaderDue, time.Now().Add(-2*time.Minute).UTC().Format(time.RFC3339Nano))
	if _, err := r.js.PublishMsg(t.Context(), late); err != nil {
		t.Fatal(err)
	}
	if got, err := w.Watch(t.Context()); err != nil || got != (consumer.Repairs{Stuck: 1}) {
		t.Fatalf("the watchdog repaired %+v, %v; want one stuck slot", got, err)
	}
	r.run()
	if res := r.result("stuck"); res.Outcome != entrustbus.OutcomeIssued {
		t.Errorf("result is %+v (error %+v)", res, res.Error)
	}
}

// Many slots lost at once are armed in one look, and an order that cannot be armed
// keeps no other one waiting.
func TestWatchdogMassLoss(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	r.patience()
	const n = 500
	bad := func(id string) { // a record that fits, and a slot, which holds this header twice, that does not
		r.lostOrder(id, ledger.Request{
			Body:   bytes.Repeat([]byte("x"), int(r.js.Conn().MaxPayload())-4000),
			Header: map[string][]string{"Content-Type": {strings.Repeat("x", 3000)}},
		})
	}
	bad("bad-first")
	for i := range n {
		r.lostOrder(fmt.Sprint("o", i), ledger.Request{Body: []byte("{}")})
	}
	bad("bad-last")
	for _, want := range []int{n, 0} {
		if got, err := r.worker().Watch(t.Context()); err != nil || got != (consumer.Repairs{Lost: want}) {
			t.Errorf("the watchdog repaired %+v, %v; want %d lost slots", got, err, want)
		}
	}
	if slots := r.count(r.layout.Parked); slots != n {
		t.Errorf("%d slots, want %d", slots, n)
	}
	if n := strings.Count(r.log.String(), "could not be armed"); n != 2 || !strings.Contains(r.log.String(), "orders=2") {
		t.Errorf("two looks told %d times of two bad orders:\n%s", n, r.log)
	}
}

// A stream that stores nothing ends the look: the next order would fare no better.
func TestWatchdogStopsWhereTheBusFails(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	r.patience()
	for i := range 100 {
		r.lostOrder(fmt.Sprint("o", i), ledger.Request{Body: []byte("{}")})
	}
	st, err := r.js.Stream(t.Context(), r.layout.Parked)
	if err != nil {
		t.Fatal(err)
	}
	cfg := st.CachedInfo().Config
	cfg.Subjects = []string{r.layout.Subjects().DueFilter()} // nobody takes a slot
	if _, err := r.js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if got, err := r.worker().Watch(t.Context()); err == nil || got != (consumer.Repairs{}) {
		t.Errorf("the watchdog repaired %+v, %v; want an error", got, err)
	}
}

// What the watchdog repaired can be told apart in the metrics.
func TestWatchdogMetrics(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	r.patience()
	registry := prometheus.NewRegistry()
	r.cfg.Metrics = consumer.NewMetrics(registry)
	r.cfg.WatchdogEvery = time.Second
	r.lostOrder("lost", ledger.Request{Body: []byte("{}")})
	r.run()
	r.eventually("the repair counted", func() bool {
		return value(t, registry, "entrust_worker_slot_repairs_total", "kind", "lost") == 1
	})
	for _, kind := range []string{"stuck", "dead"} {
		if n := value(t, registry, "entrust_worker_slot_repairs_total", "kind", kind); n != 0 {
			t.Errorf("%v %s slots, want none", n, kind)
		}
	}
}
