package consumer_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/metrics"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// A pause that the gateway asks one worker for applies to all of them, to its end.
func TestFleetPause(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{Faults: []gatewaytest.Fault{
		{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultThrottle, RetryAfter: 3 * time.Second, Times: 1},
	}})
	var seen []*prometheus.Registry
	for range 2 {
		seen = append(seen, prometheus.NewRegistry())
		r.cfg.Metrics = metrics.New(seen[len(seen)-1])
		r.run()
	}
	r.eventually("two workers at work", func() bool { return strings.Count(r.log.String(), "the gateway answers") == 2 })
	r.send(&entrustbus.Issue{ID: "first", CSRPEM: csr(t, "first")})
	r.eventually("the pause seen by both", func() bool {
		return !slices.ContainsFunc(seen, func(g *prometheus.Registry) bool {
			return gauge(t, g, "entrust_worker_paused_until_timestamp_seconds") == 0
		})
	})
	until := time.Unix(int64(gauge(t, seen[0], "entrust_worker_paused_until_timestamp_seconds")), 0)
	for i := range 20 {
		r.send(&entrustbus.Issue{ID: fmt.Sprint("o", i), CSRPEM: csr(t, fmt.Sprint("o", i))})
	}
	for i := range 20 {
		r.result(fmt.Sprint("o", i))
	}
	r.result("first")
	for e := range r.sim.AllEnrollments() {
		if e.Enrolled[0].Before(until) {
			t.Errorf("%s was submitted %s before the end of the pause", e.CN, until.Sub(e.Enrolled[0]))
		}
	}
}

// gauge returns the value of a gauge without labels.
func gauge(t *testing.T, g prometheus.Gatherer, name string) float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// A result stream that cannot store keeps the request unacknowledged. Once it can store again,
// the gateway's result is published, and the gateway is not called twice.
func TestResultStreamFull(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	st, err := r.js.Stream(t.Context(), r.layout.Results)
	if err != nil {
		t.Fatal(err)
	}
	cfg := st.CachedInfo().Config
	full := cfg
	full.MaxMsgs, full.Discard = 1, jetstream.DiscardNew
	if _, err := r.js.UpdateStream(t.Context(), full); err != nil {
		t.Fatal(err)
	}
	if _, err := r.js.PublishMsg(t.Context(), nats.NewMsg(r.layout.Subjects().Result("other", "x"))); err != nil {
		t.Fatal(err)
	}
	stop := r.run()
	r.send(&entrustbus.Issue{ID: "o", CSRPEM: csr(t, "o")})
	r.eventually("a warning that says which", func() bool {
		return strings.Contains(r.log.String(), "publishing a result; trying again") && strings.Contains(r.log.String(), "it is full")
	})
	// Also across a stop: the ledger keeps the answer.
	stop()
	if n := r.count(r.layout.Requests); n != 1 {
		t.Fatalf("%d requests on the bus while their result could not be published, want 1", n)
	}
	if _, err := r.js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	r.run()
	if res := r.result("o"); res.Outcome != entrustbus.OutcomeIssued || res.Submissions != 1 {
		t.Errorf("result is %+v (error %+v)", res, res.Error)
	}
	if n := r.enrolled(); n != 1 {
		t.Errorf("%d enrollments, want 1", n)
	}
}

// When streams disappear and return, the worker logs which ones, stays alive, and continues.
func TestConsumerDeletedAndMadeAgain(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	r.run()
	r.send(&entrustbus.Issue{ID: "a", CSRPEM: csr(t, "a")})
	r.result("a")
	if err := r.js.DeleteConsumer(t.Context(), r.layout.Requests, streams.ConsumerIssue); err != nil {
		t.Fatal(err)
	}
	r.eventually("a warning that names the consumer", func() bool {
		return strings.Contains(r.log.String(), "fetching; trying again") && strings.Contains(r.log.String(), streams.ConsumerIssue)
	})
	if _, err := streams.Provision(t.Context(), r.js, r.layout); err != nil {
		t.Fatal(err)
	}
	r.send(&entrustbus.Issue{ID: "b", CSRPEM: csr(t, "b")})
	if res := r.result("b"); res.Outcome != entrustbus.OutcomeIssued {
		t.Errorf("result is %+v", res)
	}
}

// Revocations have a lane of their own: a backlog of slow enrollments does not delay one.
func TestRevocationsOvertake(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{AcceptUnknownSerials: true, Faults: []gatewaytest.Fault{
		{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultLatency, Delay: time.Second},
	}})
	r.cfg.Issue = 1
	r.run()
	for i := range 8 {
		r.send(&entrustbus.Issue{ID: fmt.Sprint("o", i), CSRPEM: csr(t, fmt.Sprint("o", i))})
	}
	r.send(&entrustbus.Revoke{ID: "r", Serial: "abcdef"})
	r.result("r")
	if n := r.count(r.layout.Results); n > 4 {
		t.Errorf("%d results came before the revocation's", n-1)
	}
}

// The live workers share the fleet's rate. When one stops, the others get its share, and no key
// remains.
func TestFleetRate(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	r.cfg.FleetRate = 20
	first, second := r.run(), r.run()
	kv, err := r.js.KeyValue(t.Context(), r.layout.Control)
	if err != nil {
		t.Fatal(err)
	}
	workers := func() int {
		keys, err := kv.ListKeysFiltered(t.Context(), "worker.*")
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for range keys.Keys() {
			n++
		}
		return n
	}
	r.eventually("two workers in the control bucket", func() bool { return workers() == 2 })
	const n = 30
	begun := time.Now()
	for i := range n {
		r.send(&entrustbus.Issue{ID: fmt.Sprint("o", i), CSRPEM: csr(t, fmt.Sprint("o", i))})
	}
	for i := range n {
		r.result(fmt.Sprint("o", i))
	}
	// A burst of a tenth of a second is free, and probes do not count. Within the rate, less
	// time than this is impossible.
	if took := time.Since(begun); took < (n-8)*time.Second/20 {
		t.Errorf("%d orders took %s, faster than 20 a second", n, took)
	}
	first()
	second()
	r.eventually("no worker in the control bucket", func() bool { return workers() == 0 })
}
