package consumer

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// observer is a worker that does nothing but read the bus for its metrics.
func observer(t *testing.T) (context.Context, *Worker, *prometheus.Registry) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	js, registry := testbed.Start(t).JetStream(t), prometheus.NewRegistry()
	layout := streams.DefaultLayout()
	if _, err := streams.Provision(ctx, js, layout); err != nil {
		t.Fatal(err)
	}
	w := &Worker{
		cfg: Config{Layout: layout}, js: js, log: slog.New(slog.DiscardHandler), metrics: NewMetrics(registry),
		dead: deadletter.New(js, layout.Dead, layout.Subjects()),
	}
	return ctx, w, registry
}

// gauge is the value of a series, and whether there is one.
func gauge(t *testing.T, g prometheus.Gatherer, name, label string) (float64, bool) {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "entrust_worker_"+name && (label == "" || m.GetLabel()[0].GetValue() == label) {
				return m.GetGauge().GetValue(), true
			}
		}
	}
	return 0, false
}

// Letters of a reason that this version does not know go away like any others.
func TestObserveForgetsOtherLetters(t *testing.T) {
	t.Parallel()
	ctx, w, registry := observer(t)
	if err := w.dead.Put(ctx, &deadletter.Letter{Reason: "newer", Key: ledger.Key{Producer: "web", ID: "a"}, Request: ledger.Request{Subject: "entrust.request.web.issue"}}, "1"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []float64{1, 0} {
		if err := w.observeLetters(ctx); err != nil {
			t.Fatal(err)
		}
		if n, _ := gauge(t, registry, "dead_letters", "other"); n != want {
			t.Errorf("%v letters of another reason, want %v", n, want)
		}
		if age, _ := gauge(t, registry, "dead_letters_oldest_age_seconds", "other"); (age > 0) != (want > 0) {
			t.Errorf("%v letters are %v s old", want, age)
		}
		if _, err := w.dead.Purge(ctx, 1); err != nil {
			t.Fatal(err)
		}
	}
}

// Each lane has its own age: a backlog of issues hides no revocation.
func TestObserveAges(t *testing.T) {
	t.Parallel()
	ctx, w, registry := observer(t)
	subjects := w.cfg.Layout.Subjects()
	for _, kind := range []entrustbus.Kind{entrustbus.KindIssue, entrustbus.KindCancel} {
		if _, err := w.js.Publish(ctx, subjects.Request("web", kind), []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	// In hand counts as well: it has no result yet.
	c, err := w.js.Consumer(ctx, w.cfg.Layout.Requests, streams.ConsumerIssue)
	if err != nil {
		t.Fatal(err)
	}
	msg, err := c.Next()
	if err != nil {
		t.Fatal(err)
	}
	lanes := []*lane{
		{name: "issue", stream: w.cfg.Layout.Requests, consumer: streams.ConsumerIssue},
		{name: "revoke", stream: w.cfg.Layout.Requests, consumer: streams.ConsumerRevoke},
		{name: "poll", stream: w.cfg.Layout.Parked, consumer: streams.ConsumerDue},
		{name: "order", stream: w.cfg.Layout.Requests, consumer: streams.ConsumerOrder},
	}
	waits := func(lane string) bool {
		t.Helper()
		if err := w.observeAges(ctx, lanes); err != nil {
			t.Fatal(err)
		}
		age, ok := gauge(t, registry, "consumer_oldest_age_seconds", lane)
		if !ok {
			t.Fatalf("no age of the lane %s", lane)
		}
		return age > 0
	}
	for lane, want := range map[string]bool{"issue": true, "order": true, "revoke": false, "poll": false} {
		if got := waits(lane); got != want {
			t.Errorf("%s: something waits is %t, want %t", lane, got, want)
		}
	}
	if err := msg.DoubleAck(ctx); err != nil {
		t.Fatal(err)
	}
	if waits("issue") || !waits("order") {
		t.Error("the age of what is done with stays, or took another lane's with it")
	}
}

type entry struct {
	jetstream.KeyValueEntry
	text string
}

func (e entry) Value() []byte { return []byte(e.text) }

// A read that failed says nothing about the age.
func TestOldestOf(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 5, 4, 12, 0, 0, 5, time.UTC)
	for name, tc := range map[string]struct {
		text string
		err  error
		want time.Time
		bad  bool
	}{
		"an order":          {text: at.Format(time.RFC3339Nano), want: at},
		"none is parked":    {},
		"nobody looked yet": {err: jetstream.ErrKeyNotFound},
		"no answer":         {err: context.DeadlineExceeded, bad: true},
		"somebody else's":   {text: "yesterday", bad: true},
		"nobody is there":   {err: errors.New("no responders"), bad: true},
	} {
		got, err := oldestOf(entry{text: tc.text}, tc.err)
		if (err != nil) != tc.bad || !got.Equal(tc.want) {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
}
