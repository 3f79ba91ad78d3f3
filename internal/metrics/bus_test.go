package metrics

import (
	"context"
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/snapshot"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/wakeup"
)

func testLayout() streams.Layout {
	l := streams.DefaultLayout()
	l.RequestsMaxBytes = 1 << 20
	return l
}

// bus is a real bus, and what is read of it.
type bus struct {
	Bus
	js      jetstream.JetStream
	layout  streams.Layout
	letters *deadletter.Box
}

// observer is a worker's metrics on a real bus.
func observer(t *testing.T) (context.Context, *Worker, bus, *prometheus.Registry) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	js, registry, layout := testbed.Start(t).JetStream(t), prometheus.NewRegistry(), testLayout()
	if _, err := streams.Provision(ctx, js, layout); err != nil {
		t.Fatal(err)
	}
	return ctx, New(registry), bus{js: js, layout: layout, letters: deadletter.New(js, layout.Dead, layout.Subjects()), Bus: Bus{
		Reader:  snapshot.New(js, layout),
		Control: control.Open(control.Config{JS: js, Bucket: layout.Control, Worker: "w1", Gateway: "g"}),
		Log:     slog.New(slog.DiscardHandler),
	}}, registry
}

// Letters of a reason that this version does not know go away like any others.
func TestObserveForgetsOtherLetters(t *testing.T) {
	t.Parallel()
	ctx, m, b, registry := observer(t)
	if err := b.letters.Put(ctx, &deadletter.Letter{Letter: order.Letter{
		Reason: "newer", Key: order.Key{Producer: "web", ID: "a"}, ID: "1", Request: order.Message{Subject: "entrust.request.web.issue"},
	}}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []float64{1, 0} {
		if err := m.observeLetters(ctx, b.Bus); err != nil {
			t.Fatal(err)
		}
		if n, _ := value(t, registry, "dead_letters", "reason=other"); n != want {
			t.Errorf("%v letters of another reason, want %v", n, want)
		}
		if age, _ := value(t, registry, "dead_letters_oldest_age_seconds", "reason=other"); (age > 0) != (want > 0) {
			t.Errorf("%v letters are %v s old", want, age)
		}
		if _, err := b.letters.Purge(ctx, 1); err != nil {
			t.Fatal(err)
		}
	}
	if _, n := value(t, registry, "dead_letters"); n != len(order.Reasons())+1 {
		t.Errorf("%d reasons are shown, want %d", n, len(order.Reasons())+1)
	}
}

// Each lane has its own numbers and age: a backlog of issues hides no revocation, and an
// operator's request counts like a producer's.
func TestObserveLanes(t *testing.T) {
	t.Parallel()
	ctx, m, b, registry := observer(t)
	s := b.layout.Subjects()
	for _, subject := range []string{s.Request("web", entrustbus.KindIssue), s.Operator("web", entrustbus.KindCancel)} {
		if _, err := b.js.Publish(ctx, subject, []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	w := wakeup.New(b.js, b.layout.Parked, s)
	if err := w.Schedule(ctx, &order.Wakeup{Key: order.Key{Producer: "web", ID: "a"}, Kind: entrustbus.KindRevoke, Lane: order.LaneRevoke, Due: time.Now()}); err != nil {
		t.Fatal(err)
	}
	take := func(stream, consumer string) jetstream.Msg {
		t.Helper()
		c, err := b.js.Consumer(ctx, stream, consumer)
		if err != nil {
			t.Fatal(err)
		}
		msg, err := c.Next()
		if err != nil {
			t.Fatal(err)
		}
		return msg
	}
	// In flight counts as well: it has no result yet.
	msg := take(b.layout.Requests, streams.ConsumerIssue)
	take(b.layout.Parked, streams.ConsumerRevokeAgain)
	check := func(lane string, pending, unacked float64) {
		t.Helper()
		if n, series := value(t, registry, "consumer_pending_messages", "lane="+lane); n != pending || series != 1 {
			t.Errorf("%s: %v pending, want %v", lane, n, pending)
		}
		if n, series := value(t, registry, "consumer_unacknowledged_messages", "lane="+lane); n != unacked || series != 1 {
			t.Errorf("%s: %v in flight, want %v", lane, n, unacked)
		}
		if age, series := value(t, registry, "consumer_oldest_age_seconds", "lane="+lane); (age > 0) != (pending+unacked > 0) || series != 1 {
			t.Errorf("%s: the oldest is %v s old", lane, age)
		}
	}
	read := func() {
		t.Helper()
		for _, read := range []func(context.Context, Bus) error{m.observeLanes, m.observeAges} {
			if err := read(ctx, b.Bus); err != nil {
				t.Fatal(err)
			}
		}
	}
	read()
	check("issue", 0, 1)
	check("manage", 1, 0)
	check("revoke-again", 0, 1)
	for _, lane := range []string{"revoke", "poll", "resubmit", "manage-again"} {
		check(lane, 0, 0)
	}
	if err := msg.DoubleAck(ctx); err != nil {
		t.Fatal(err)
	}
	read()
	check("issue", 0, 0)
	check("manage", 1, 0)
}

// The gauges of waiting orders come from the stream, and from what the watchdog's last
// whole scan says. A reading that fails changes none.
func TestObserveParked(t *testing.T) {
	t.Parallel()
	ctx, m, b, registry := observer(t)
	whole := 0.0
	want := func(when string, waiting, oldest, scanned float64) {
		t.Helper()
		for name, want := range map[string]float64{"watchdog_last_whole_scan_timestamp_seconds": whole, "parked_orders": waiting, "parked_oldest_age_seconds": oldest, "watchdog_last_scan_timestamp_seconds": scanned} {
			if got, _ := value(t, registry, name); math.Abs(got-want) > 30 || (got == 0) != (want == 0) {
				t.Errorf("%s: %s is %v, want about %v", when, name, got, want)
			}
		}
	}
	read := func() {
		t.Helper()
		if err := m.observeParked(ctx, b.Bus); err != nil {
			t.Fatal(err)
		}
	}
	read()
	want("before the first scan", 0, 0, 0)
	w := wakeup.New(b.js, b.layout.Parked, b.layout.Subjects())
	for _, id := range []string{"a", "b"} {
		if err := w.Schedule(ctx, &order.Wakeup{Key: order.Key{Producer: "web", ID: id}, Kind: entrustbus.KindIssue, Lane: order.LanePoll, Due: time.Now().Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
	}
	scan := control.Scan{Complete: true, Oldest: time.Hour, Waiting: &control.Waiting{Awaiting: 5, Unaccepted: 3, Indeterminate: 1}}
	save := func() {
		t.Helper()
		if err := b.Control.SaveScan(ctx, control.ScanRecent, &scan); err != nil {
			t.Fatal(err)
		}
	}
	save()
	read()
	now := float64(time.Now().Unix())
	want("orders wait", 2, 3600, now)
	for phase, want := range map[string]float64{"awaiting": 5, "unaccepted": 3, "indeterminate": 1} {
		if got, _ := value(t, registry, "waiting_orders", "phase="+phase); got != want {
			t.Errorf("%v orders wait in phase %s, want %v", got, phase, want)
		}
	}
	scan.Oldest = 0
	save()
	read()
	want("none waited in the scan", 2, 0, now)
	// One that is under way does not hide when the last one ended.
	part := control.Scan{Before: time.Hour}
	if err := b.Control.SaveScan(ctx, control.ScanFull, &part); err != nil {
		t.Fatal(err)
	}
	read()
	whole = now - 3600
	want("a whole scan is under way", 2, 0, now)
	kv, err := b.js.KeyValue(ctx, b.layout.Control)
	if err == nil {
		_, err = kv.PutString(ctx, "scan."+control.ScanRecent, "no scan")
	}
	if err != nil {
		t.Fatal(err)
	}
	read()
	b.js.Conn().Close()
	if err := m.observeParked(ctx, b.Bus); err == nil {
		t.Error("a bus that does not answer was read")
	}
	want("no answer", 2, 0, now)
}

// Observe reads everything, apart from scrapes, until it is stopped; what cannot be read
// grows old, and keeps nothing else from being read.
func TestObserve(t *testing.T) {
	t.Parallel()
	ctx, m, b, registry := observer(t)
	begun := float64(time.Now().UnixNano()) / 1e9 // each gauge begins with the moment that it was made
	if err := b.js.DeleteStream(ctx, b.layout.Dead); err != nil {
		t.Fatal(err)
	}
	observing, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { defer close(ended); m.Observe(observing, b.Bus) }()
	for ctx.Err() == nil {
		fresh := 0
		for _, of := range []string{"lanes", "ages", "parked"} {
			if at, _ := value(t, registry, "observed_timestamp_seconds", "of="+of); at > begun {
				fresh++
			}
		}
		if fresh == 3 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	stop()
	<-ended
	if ctx.Err() != nil {
		t.Fatal("the bus was not read")
	}
	if at, _ := value(t, registry, "observed_timestamp_seconds", "of=dead_letters"); at > begun {
		t.Error("a stream that is gone counts as read")
	}
}
