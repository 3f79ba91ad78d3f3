package watchdog

import (
	"bytes"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/wakeup"
)

const producer = "shop"

// later is how old every record must be to be read, in these tests.
const later = settling + time.Minute + 10*time.Second

// rig is the streams of a fleet on a real server.
type rig struct {
	t       *testing.T
	server  *testbed.Server
	js      jetstream.JetStream
	layout  streams.Layout
	ledger  *ledger.Ledger
	wakeups *wakeup.Store
	log     *lockedBuffer
}

func setup(t *testing.T) *rig { return setupOn(t, testbed.Start(t)) }

func setupOn(t *testing.T, server *testbed.Server) *rig {
	t.Helper()
	r := &rig{t: t, server: server, js: server.JetStream(t), layout: streams.DefaultLayout(), log: new(lockedBuffer)}
	r.layout.RequestsMaxBytes = 1 << 20
	if _, err := streams.Provision(t.Context(), r.js, r.layout); err != nil {
		t.Fatal(err)
	}
	r.ledger = ledger.New(r.js, r.layout.Orders)
	r.wakeups = wakeup.New(r.js, r.layout.Parked, r.layout.Subjects())
	return r
}

// worker is the watchdog of one worker. Its clock is ahead, so that the records of the test are
// old. It has a connection of its own.
func (r *rig) worker(name string, ahead time.Duration) *Watchdog {
	r.t.Helper()
	js := r.server.JetStream(r.t)
	return &Watchdog{
		JS: js, Layout: r.layout, Ledger: ledger.New(js, r.layout.Orders),
		Wakeups: wakeup.New(js, r.layout.Parked, r.layout.Subjects()),
		Control: control.Open(control.Config{JS: js, Bucket: r.layout.Control, Worker: name, Gateway: "https://gateway.example"}),
		Log:     slog.New(slog.NewTextHandler(r.log, nil)),
		Every:   10 * time.Minute, Lease: time.Minute, ahead: ahead,
	}
}

// whole makes the next scan read all records, as an operator may.
func (r *rig) whole() {
	r.t.Helper()
	kv, err := r.js.KeyValue(r.t.Context(), r.layout.Control)
	if err == nil {
		err = kv.Delete(r.t.Context(), "scan."+control.ScanFull)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// scans checks the repairs of one scan.
func (r *rig) scans(w *Watchdog, want Repairs) {
	r.t.Helper()
	if got, err := w.Scan(r.t.Context()); err != nil || got != want {
		r.t.Fatalf("the watchdog repaired %+v, %v; want %+v", got, err, want)
	}
}

func key(id string) order.Key { return order.Key{Producer: producer, ID: id} }

// record is a valid record of a phase.
func record(phase order.Phase, kind entrustbus.Kind) order.Record {
	r := order.Record{
		Phase: phase, Kind: kind, Digest: []byte("digest"), RequestedAt: time.Now().UTC().Add(-time.Hour), TrackingID: "T-1",
		Request: &order.Message{Subject: "entrust.request.shop." + string(kind), Body: []byte("{}"), Header: map[string][]string{"X-Own": {"1"}}},
	}
	switch phase {
	case order.Submitting:
		r.Owner, r.Lease = "w1", time.Minute
	case order.Awaiting:
		r.Deadline = time.Now().UTC().Add(24 * time.Hour)
	case order.Concluded:
		r.Conclusion = &order.Conclusion{Encoding: entrustbus.EncodingJSON, Result: &entrustbus.Result{ID: "x", Producer: producer, Kind: kind, Outcome: entrustbus.OutcomeFailed}}
	case order.Closed:
		r.Outcome = entrustbus.OutcomeFailed
	}
	return r
}

// keep writes a record to the ledger.
func (r *rig) keep(id string, rec order.Record) {
	r.t.Helper()
	if _, err := r.ledger.Write(key(id), order.Stored{}, rec, nil).Try(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) schedule(w *order.Wakeup) {
	r.t.Helper()
	if err := r.wakeups.Schedule(r.t.Context(), w); err != nil {
		r.t.Fatal(err)
	}
}

// wake schedules a wake-up that is not due while the test runs.
func wake(id string, rec order.Record) *order.Wakeup {
	return order.WakeupOf(key(id), rec, time.Now().Add(time.Hour))
}

// forge publishes the wake-up of an order again with changed headers.
func (r *rig) forge(id string, change func(nats.Header)) {
	r.t.Helper()
	m, err := streams.Last(r.t.Context(), r.js, r.layout.Parked, r.layout.Subjects().Parked(producer, id))
	if err != nil {
		r.t.Fatal(err)
	}
	msg := &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data}
	delete(msg.Header, "Nats-Expected-Stream")
	change(msg.Header)
	if _, err := r.js.PublishMsg(r.t.Context(), msg); err != nil {
		r.t.Fatal(err)
	}
}

// next waits for a due message of the lane of polls.
func (r *rig) next() jetstream.Msg {
	r.t.Helper()
	c, err := r.js.Consumer(r.t.Context(), r.layout.Parked, streams.ConsumerPoll)
	if err != nil {
		r.t.Fatal(err)
	}
	m, err := c.Next(jetstream.FetchMaxWait(10 * time.Second))
	if err != nil {
		r.t.Fatal(err)
	}
	return m
}

// publish stores a request and returns its sequence and time.
func (r *rig) publish(id string) order.Ref {
	r.t.Helper()
	ack, err := r.js.Publish(r.t.Context(), "entrust.request.shop.issue", []byte(`{"id":"`+id+`"}`))
	if err != nil {
		r.t.Fatal(err)
	}
	m, err := streams.At(r.t.Context(), r.js, r.layout.Requests, ack.Sequence)
	if err != nil {
		r.t.Fatal(err)
	}
	return order.Ref{Sequence: m.Sequence, Time: m.Time.UTC()}
}

// count is how many messages a stream has.
func (r *rig) count(stream string) uint64 {
	r.t.Helper()
	st, err := r.js.Stream(r.t.Context(), stream)
	if err != nil {
		r.t.Fatal(err)
	}
	return st.CachedInfo().State.Msgs
}

func (r *rig) eventually(what string, ok func() bool) {
	r.t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(end) {
			r.t.Fatalf("no %s; the log says:\n%s", what, r.log)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// newer is a record in the format of a later worker.
func newer(t *testing.T, rec order.Record) []byte {
	t.Helper()
	data, err := rec.Encode()
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]any{}
	if err := msgpack.Unmarshal(data, &keys); err != nil {
		t.Fatal(err)
	}
	keys["format"] = order.Format + 1
	if data, err = msgpack.Marshal(keys); err != nil {
		t.Fatal(err)
	}
	return data
}

// fill writes n closed records to the ledger.
func (r *rig) fill(n int) {
	r.t.Helper()
	data, err := record(order.Closed, entrustbus.KindIssue).Encode()
	if err != nil {
		r.t.Fatal(err)
	}
	for i := range n {
		if _, err := r.js.PublishAsync(fmt.Sprintf("$KV.%s.%s.closed-%s", r.layout.Orders, producer, strconv.Itoa(i)), data); err != nil {
			r.t.Fatal(err)
		}
		if i%500 == 499 || i == n-1 {
			<-r.js.PublishAsyncComplete()
		}
	}
}

// park writes n waiting orders, each with a wake-up.
func (r *rig) park(n int) {
	r.t.Helper()
	r.schedule(wake("pattern", record(order.Awaiting, entrustbus.KindIssue)))
	m, err := streams.Last(r.t.Context(), r.js, r.layout.Parked, r.layout.Subjects().Parked(producer, "pattern"))
	if err != nil {
		r.t.Fatal(err)
	}
	delete(m.Header, "Nats-Expected-Stream")
	for i := range n {
		on := r.layout.Subjects().Parked(producer, "parked-"+strconv.Itoa(i))
		if _, err := r.js.PublishMsgAsync(&nats.Msg{Subject: on, Header: m.Header, Data: m.Data}); err != nil {
			r.t.Fatal(err)
		}
		if i%500 == 499 || i == n-1 {
			<-r.js.PublishAsyncComplete()
		}
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
