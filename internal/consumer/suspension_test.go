package consumer_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/metrics"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// operator is the control bucket as the operators' verbs use it.
func (r *rig) operator() *control.Bucket {
	return control.Open(control.Config{JS: r.js, Bucket: r.layout.Control})
}

func (r *rig) suspend(s control.Scope) {
	r.t.Helper()
	if _, _, err := r.operator().Suspend(r.t.Context(), control.Suspension{Scope: s, Operator: "ann@host", Reason: "a drill"}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) resume(s control.Scope) {
	r.t.Helper()
	if _, removed, err := r.operator().Resume(r.t.Context(), s); err != nil || !removed {
		r.t.Fatalf("resuming %s: removed %v, %v", s, removed, err)
	}
}

// waiting is how many messages of a consumer are not delivered.
func (r *rig) waiting(stream, consumer string) uint64 {
	r.t.Helper()
	c, err := r.js.Consumer(r.t.Context(), stream, consumer)
	if err != nil {
		r.t.Fatal(err)
	}
	return c.CachedInfo().NumPending
}

// Requests of a suspended lane stay in the stream, also with a worker that starts later. Other
// lanes continue.
func TestSuspendedLane(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	r.suspend(control.Scope{Lane: "issue"})
	r.suspend(control.Scope{Lane: "poll"})
	registry := prometheus.NewRegistry()
	r.cfg.Metrics = metrics.New(registry)
	r.send(&entrustbus.Issue{ID: "a", CSRPEM: csr(t, "a")})
	stop := r.run()
	r.eventually("two suspensions in the log", func() bool { return strings.Count(r.log.String(), "suspended by an operator") == 2 })
	r.send(&entrustbus.Issue{ID: "b", CSRPEM: csr(t, "b")})
	r.send(&entrustbus.Track{ID: "t", TrackingID: "unknown-1"})
	r.send(&entrustbus.Revoke{ID: "r", Serial: "0a"})
	r.result("r")
	r.eventually("a poll that is due", func() bool { return r.waiting(r.layout.Parked, streams.ConsumerPoll) == 1 })
	if n := r.waiting(r.layout.Requests, streams.ConsumerIssue); n != 2 || r.enrolled() != 0 {
		t.Errorf("%d requests wait in the stream, %d enrolled; want 2 and 0", n, r.enrolled())
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	series := 0
	for _, f := range families {
		if f.GetName() == "entrust_worker_suspended" {
			series = len(f.GetMetric())
		}
	}
	if series != 2 {
		t.Errorf("%d series of suspensions, want 2", series)
	}
	stop()
	r.run()
	r.eventually("both in the log of the next worker", func() bool { return strings.Count(r.log.String(), "suspended by an operator") == 4 })
	r.resume(control.Scope{Lane: "issue"})
	for _, id := range []string{"a", "b"} {
		if res := r.result(id); res.Outcome != entrustbus.OutcomeIssued || res.Submissions != 1 {
			t.Errorf("%s ended as %s after %d submissions", id, res.Outcome, res.Submissions)
		}
	}
	if n := r.waiting(r.layout.Parked, streams.ConsumerPoll); n != 1 {
		t.Errorf("%d polls wait in the stream, want 1", n)
	}
	r.resume(control.Scope{Lane: "poll"})
	r.eventually("a poll", func() bool { return strings.Contains(r.log.String(), "the gateway refused a poll") })
	// Messages of a pull that was open at the suspension wait too.
	r.suspend(control.Scope{Lane: "issue"})
	r.eventually("the third suspension in the log", func() bool { return strings.Count(r.log.String(), "suspended by an operator") == 5 })
	r.send(&entrustbus.Issue{ID: "c", CSRPEM: csr(t, "c")})
	r.send(&entrustbus.Revoke{ID: "s", Serial: "0a"})
	r.result("s")
	if rec := r.record("c"); r.enrolled() != 2 || rec.Submissions != 0 {
		t.Errorf("%d enrolled, %d submissions of the last; want 2 and 0", r.enrolled(), rec.Submissions)
	}
	r.resume(control.Scope{Lane: "issue"})
	r.result("c")
	r.eventually("the word that all are resumed", func() bool { return strings.Count(r.log.String(), "resumed: calls are made again") == 3 })
}

// The orders of a suspended producer wait in wake-ups, for longer than a submission may, and
// never fail. Orders of another producer are issued meanwhile.
func TestSuspendedProducer(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{ApproveAfter: time.Hour})
	r.cfg.SubmitMaxWait = time.Second
	r.run()
	r.send(&entrustbus.Issue{ID: "parked", CSRPEM: csr(t, "pending-parked"), PollMaxWaitSeconds: 600})
	r.eventually("a parked order", func() bool { return r.record("parked").Phase == order.Awaiting })
	scope := control.Scope{Producer: producer}
	r.suspend(scope)
	r.eventually("the suspension in the log", func() bool { return strings.Contains(r.log.String(), "suspended by an operator") })
	r.send(&entrustbus.Issue{ID: "new", CSRPEM: csr(t, "pending-new")})
	r.send(&entrustbus.Revoke{ID: "revoke", Serial: "0a"})
	begun := time.Now()
	r.eventually("orders that are put off", func() bool {
		return r.record("new").Phase == order.Unaccepted && r.record("revoke").Phase == order.Unaccepted
	})
	rec := r.record("new")
	if rec.Submissions != 0 || rec.Cause.Code != "suspended" || !strings.Contains(rec.Cause.Message, "producer shop: a drill") {
		t.Errorf("the record is %+v, cause %+v", rec.Record, rec.Cause)
	}
	// No request occupies a place in flight.
	r.eventually("the acknowledgement of each", func() bool {
		c, err := r.js.Consumer(t.Context(), r.layout.Requests, streams.ConsumerIssue)
		return err == nil && c.CachedInfo().NumAckPending == 0
	})
	// The other producer's order continues, and the waiting orders are woken and deferred
	// again.
	msg := nats.NewMsg(r.layout.Subjects().Request("web", entrustbus.KindIssue))
	var err error
	if msg.Data, err = entrustbus.EncodeRequest(entrustbus.EncodingJSON, &entrustbus.Issue{ID: "w", CSRPEM: csr(t, "w")}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.js.PublishMsg(t.Context(), msg); err != nil {
		t.Fatal(err)
	}
	r.eventually("the end of the other producer's", func() bool {
		_, err := streams.Last(context.WithoutCancel(t.Context()), r.js, r.layout.Results, r.layout.Subjects().Result("web", "w"))
		return err == nil
	})
	r.eventually("orders that wait for longer than a submission may", func() bool {
		return time.Since(begun) > 2*r.cfg.SubmitMaxWait && strings.Count(r.log.String(), "the call must wait") >= 2
	})
	if rec := r.record("new"); rec.Phase != order.Unaccepted || rec.Waited != 0 || rec.Submissions != 0 {
		t.Errorf("the record is %+v", rec.Record)
	}
	for _, l := range r.letters() {
		if l.Key.Producer == producer {
			t.Errorf("a dead letter of %s: %s", l.Key, l.Why)
		}
	}
	r.resume(scope)
	r.result("revoke")
	r.eventually("the submission of the other", func() bool { return r.record("new").Phase == order.Awaiting })
}
