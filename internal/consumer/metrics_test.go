package consumer_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/consumer"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
)

// Metrics tell what happened, and their number stays the same whatever
// producers send.
func TestMetrics(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	registry := prometheus.NewRegistry()
	r.cfg.Metrics = consumer.NewMetrics(registry)
	begun := float64(time.Now().UnixNano()) / 1e9 // each gauge begins with the moment that it was made
	r.run()
	batch := func(from int) {
		for i := from; i < from+5; i++ {
			r.send(&entrustbus.Issue{ID: fmt.Sprint("i", i), CSRPEM: csr(t, fmt.Sprint("i", i)), Labels: map[string]string{fmt.Sprint("l", i): "x"}})
			r.publish(entrustbus.KindIssue, []byte(fmt.Sprintf(`{"id":"b%d","csr_pem":"%d"}`, i, i)))
			r.result(fmt.Sprint("i", i))
			r.result(fmt.Sprint("b", i))
		}
		r.quiet()
		r.eventually("the gauges of the bus", func() bool {
			for _, of := range []string{"lanes", "ages", "parked", "dead_letters"} {
				if value(t, registry, "entrust_worker_observed_timestamp_seconds", "of", of) <= begun {
					return false
				}
			}
			return true
		})
	}
	batch(0)
	for _, want := range []struct {
		name, label, is string
		value           float64
	}{
		{"entrust_worker_requests_total", "kind", "issue", 10},
		{"entrust_worker_results_total", "outcome", "issued", 5},
		{"entrust_worker_results_total", "outcome", "failed", 5},
		{"entrust_worker_dead_letters_total", "reason", "invalid", 5},
		{"entrust_worker_gateway_request_duration_seconds", "operation", "enroll", 5},
		{"entrust_worker_order_duration_seconds", "outcome", "issued", 5},
		{"entrust_worker_breaker_state", "state", "closed", 1},
		{"entrust_worker_in_flight", "lane", "issue", 0},
	} {
		if got := value(t, registry, want.name, want.label, want.is); got != want.value {
			t.Errorf("%s{%s=%q} is %v, want %v", want.name, want.label, want.is, got, want.value)
		}
	}
	before := series(t, registry)
	batch(5)
	if after := series(t, registry); after != before {
		t.Errorf("%d series became %d with more of the same", before, after)
	}
}

// A series that begins with its first event hides it from increase(), and so from alerts.
func TestCountersBeginAtZero(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	consumer.NewMetrics(registry)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, f := range families {
		got[f.GetName()] = len(f.GetMetric())
	}
	for name, want := range map[string]int{
		"entrust_worker_requests_total":             4,
		"entrust_worker_results_total":              6 + 3 + 6 + 2, // each outcome that its kind can have
		"entrust_worker_errors_total":               9,
		"entrust_worker_dead_letters_total":         8,
		"entrust_worker_redeliveries_total":         4,
		"entrust_worker_unknown_fates_total":        3,
		"entrust_worker_slot_repairs_total":         2,
		"entrust_worker_in_flight":                  4,
		"entrust_worker_observed_timestamp_seconds": 4,
		"entrust_worker_deadline_expirations_total": 1,
	} {
		if got[name] != want {
			t.Errorf("%s has %d series, want %d", name, got[name], want)
		}
	}
}

// value returns a counter, a gauge or a histogram's count, summed over the
// series that have the label.
func value(t *testing.T, g prometheus.Gatherer, name, label, is string) float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == label && l.GetValue() == is {
					sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
				}
			}
		}
	}
	return sum
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
	t.Fatalf("there is no %s", name)
	return 0
}

func series(t *testing.T, g prometheus.Gatherer) int {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range families {
		n += len(f.GetMetric())
	}
	return n
}
