package snapshot

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/wakeup"
)

func testLayout() streams.Layout {
	l := streams.DefaultLayout()
	l.RequestsMaxBytes = 1 << 20
	return l
}

// setup starts a bus, and a reader of it.
func setup(t *testing.T) (context.Context, jetstream.JetStream, *Reader) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	js := testbed.Start(t).JetStream(t)
	if _, err := streams.Provision(ctx, js, testLayout()); err != nil {
		t.Fatal(err)
	}
	return ctx, js, New(js, testLayout())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A bus without any activity is known as such, and no worker runs.
func TestReadOfAnEmptyBus(t *testing.T) {
	t.Parallel()
	ctx, _, r := setup(t)
	begun := time.Now()
	s := r.Read(ctx)
	for name, p := range map[string]struct {
		at      time.Time
		problem string
	}{
		"fleet": {s.Fleet.At, s.Fleet.Problem}, "lanes": {s.Lanes.At, s.Lanes.Problem}, "parked": {s.Parked.At, s.Parked.Problem},
		"letters": {s.Letters.At, s.Letters.Problem}, "streams": {s.Streams.At, s.Streams.Problem},
	} {
		if p.at.Before(begun) || p.problem != "" {
			t.Errorf("%s were read at %v: %q", name, p.at, p.problem)
		}
	}
	if !s.NATS.Connected || s.NATS.RTT <= 0 || s.NATS.Skew.Abs() > s.NATS.RTT+time.Second || s.NATS.Version == "" {
		t.Errorf("NATS is %+v", s.NATS)
	}
	if len(s.Lanes.Of) != len(Lanes()) || len(s.Letters.Of) != len(order.Reasons()) || len(s.Streams.Of) != 8 {
		t.Errorf("%d lanes, %d reasons, %d streams", len(s.Lanes.Of), len(s.Letters.Of), len(s.Streams.Of))
	}
	if p := s.Problems(time.Now()); len(p) != 1 || p[0].Severity != Critical || !strings.Contains(p[0].Text, "no worker") {
		t.Errorf("problems: %+v", p)
	}
}

// The snapshot contains the data of the bus.
func TestRead(t *testing.T) {
	t.Parallel()
	ctx, js, r := setup(t)
	l := testLayout()
	for range 2 {
		_, err := js.Publish(ctx, l.Subjects().Request("web", entrustbus.KindIssue), []byte("{}"))
		must(t, err)
	}
	c, err := js.Consumer(ctx, l.Requests, streams.ConsumerIssue)
	must(t, err)
	_, err = c.Next()
	must(t, err)
	w := wakeup.New(js, l.Parked, l.Subjects())
	must(t, w.Schedule(ctx, &order.Wakeup{Key: order.Key{Producer: "web", ID: "a"}, Kind: entrustbus.KindIssue, Lane: order.LanePoll, Due: time.Now().Add(time.Hour)}))
	box := deadletter.New(js, l.Dead, l.Subjects())
	must(t, box.Put(ctx, &deadletter.Letter{Letter: order.Letter{
		Reason: order.Unconfirmed, Key: order.Key{Producer: "web", ID: "b"}, ID: "1", Request: order.Message{Subject: "entrust.request.web.issue"},
	}}))
	_, _, err = control.Open(control.Config{JS: js, Bucket: l.Control, Worker: "w1"}).OpenBreaker(ctx, "enroll", "ca-1", 0, "500")
	must(t, err)

	s := r.Read(ctx)
	issue := s.Lanes.Of[slices.IndexFunc(s.Lanes.Of, func(l Lane) bool { return l.Name == "issue" })]
	if issue.InFlight != 1 || issue.Backlog != 1 || time.Since(issue.Oldest) > time.Minute {
		t.Errorf("the lane is %+v", issue)
	}
	if s.Parked.Of.Orders != 1 {
		t.Errorf("%d orders are parked", s.Parked.Of.Orders)
	}
	letters := s.Letters.Of[slices.IndexFunc(s.Letters.Of, func(l Letters) bool { return l.Reason == order.Unconfirmed })]
	if letters.Count != 1 || letters.Fullness != 1/float64(l.DeadPerReason) || time.Since(letters.Oldest) > time.Minute {
		t.Errorf("the dead letters are %+v", letters)
	}
	if b := s.Fleet.Of.Breakers; len(b) != 1 || b[0].Cause != "500" {
		t.Errorf("open breakers: %+v", b)
	}
	requests := s.Streams.Of[slices.IndexFunc(s.Streams.Of, func(s Stream) bool { return s.Name == l.Requests })]
	if requests.Messages != 2 || requests.MaxBytes != 1<<20 || requests.Fullness <= 0 || requests.Fullness > 0.1 || requests.Sequence != 2 || requests.Last.IsZero() {
		t.Errorf("the stream is %+v", requests)
	}
}

// A part that cannot be read keeps its figures and says why; the other parts are read.
func TestReadKeepsWhatItHad(t *testing.T) {
	t.Parallel()
	ctx, js, r := setup(t)
	first := r.Read(ctx)
	must(t, js.DeleteStream(ctx, testLayout().Dead))
	second := r.Read(ctx)
	if !second.Letters.Stale() || !second.Letters.At.Equal(first.Letters.At) || len(second.Letters.Of) != len(first.Letters.Of) {
		t.Errorf("letters of a stream that is gone: %+v", second.Letters)
	}
	if second.Lanes.Stale() || !second.Lanes.At.After(first.Lanes.At) {
		t.Errorf("the lanes were read at %v: %q", second.Lanes.At, second.Lanes.Problem)
	}
	js.Conn().Close()
	third := r.Read(ctx)
	if third.NATS.Connected || third.NATS.Problem == "" || third.NATS.URL != first.NATS.URL || third.NATS.Answered.Before(first.NATS.Answered) {
		t.Errorf("NATS is %+v", third.NATS)
	}
	if !third.Lanes.Stale() || !third.Lanes.At.Equal(second.Lanes.At) || !third.Fleet.Stale() || !third.Parked.Stale() || !third.Streams.Stale() {
		t.Errorf("without NATS, the lanes are %+v", third.Lanes)
	}
	if p := third.Problems(time.Now()); len(p) != 1 || p[0].Severity != Critical || !strings.Contains(p[0].Text, "not connected to NATS") {
		t.Errorf("problems: %+v", p)
	}
}

// There is a lane for each consumer of the streams.
func TestLanesAreConsumers(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	for _, at := range lanesOf(testLayout()) {
		if at.consumer != fmt.Sprint("worker-", at.name) || names[at.consumer] || !slices.Contains(Lanes(), at.name) {
			t.Errorf("lane %s reads the consumer %s", at.name, at.consumer)
		}
		names[at.consumer] = true
	}
	if _, _, consumers := testLayout().Objects(); len(names) != consumers || len(Lanes()) != consumers {
		t.Errorf("%d lanes of %d consumers", len(names), consumers)
	}
}

// The fastest answer measures the server's clock best.
func TestClock(t *testing.T) {
	t.Parallel()
	t0 := time.Now()
	at := func(ms int) time.Time { return t0.Add(time.Duration(ms) * time.Millisecond) }
	c := clock{}.narrowed(at(0), at(100), at(50).Add(time.Hour)).narrowed(at(200), at(202), at(201).Add(-time.Minute)).narrowed(at(300), at(400), at(0))
	if c.rtt != 2*time.Millisecond || c.skew != -time.Minute {
		t.Errorf("the clock is %+v", c)
	}
}
