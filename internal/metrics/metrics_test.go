package metrics

import (
	"context"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// value returns a counter, a gauge or a histogram's count, summed over the series that
// have every label=value pair, and how many those are.
func value(t *testing.T, g prometheus.Gatherer, name string, labels ...string) (sum float64, series int) {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "entrust_worker_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			has := map[string]string{}
			for _, l := range m.GetLabel() {
				has[l.GetName()] = l.GetValue()
			}
			if slices.ContainsFunc(labels, func(l string) bool { return !slices.ContainsFunc(pairs(has), func(p string) bool { return p == l }) }) {
				continue
			}
			series++
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum, series
}

func pairs(labels map[string]string) (all []string) {
	for name, v := range labels {
		all = append(all, name+"="+v)
	}
	return all
}

// A series that begins with its first event hides it from increase(), and so from alerts.
func TestCountersBeginAtZero(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	New(registry)
	for name, want := range map[string]int{
		"requests_total":             4,
		"results_total":              6 + 3 + 6 + 2, // each outcome that its kind can have
		"errors_total":               9,
		"dead_letters_total":         8,
		"redeliveries_total":         7,
		"unknown_fates_total":        3,
		"wakeup_repairs_total":       3,
		"in_flight":                  7,
		"deadline_expirations_total": 1,
		"parked_orders_total":        1,
		"poll_lateness_seconds":      1,
		"waiting_orders":             3,
		// No scan, no pause and no waiting order yet.
		"watchdog_last_scan_timestamp_seconds": 1,
		"paused_until_timestamp_seconds":       1,
		"parked_orders":                        1,
		"parked_oldest_age_seconds":            1,
	} {
		if sum, n := value(t, registry, name); n != want || sum != 0 {
			t.Errorf("%s has %d series with a sum of %v, want %d with 0", name, n, sum, want)
		}
	}
	// These grow old from the beginning, unless the bus is read.
	for _, of := range observed {
		if at, n := value(t, registry, "observed_timestamp_seconds", "of="+of); n != 1 || math.Abs(at-float64(time.Now().Unix())) > 60 {
			t.Errorf("the reading of %s is of %v", of, at)
		}
	}
}

// What happened is counted under its labels, and no event makes another series.
func TestEventsAreCounted(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	m := New(registry)
	begun := time.Date(2026, 11, 28, 1, 2, 3, 0, time.UTC)
	for range 2 {
		m.Request("issue", "shop")
		m.Finished("issue", "expired", &entrustbus.Result{Producer: "shop", RequestedAt: begun, FinishedAt: begun.Add(time.Minute)})
		m.Finished("issue", "issued", &entrustbus.Result{FinishedAt: begun}) // nothing tells when it was requested
		m.GatewayError("timeout")
		m.DeadLetter("expired")
		m.Redelivered("revoke-again")
		m.Reconciled("adopted")
		m.Repaired("lost", 3)
		m.Parked()
		m.InFlight("poll", 1)
		m.Poll(time.Second)
		m.Gateway(false, "outage")
		m.Breaker("enroll", "ca-1", "open")
		m.Call("enroll", 503, time.Second)
		m.Paused(begun)
	}
	m.InFlight("poll", -1)
	m.Repaired("stuck", 0)
	for _, want := range []struct {
		name   string
		labels []string
		value  float64
		series int
	}{
		{"requests_total", []string{"kind=issue"}, 2, 1},
		{"results_total", []string{"kind=issue", "outcome=expired"}, 2, 1},
		{"results_total", []string{"kind=issue", "outcome=issued"}, 2, 1},
		{"results_total", nil, 4, 17},
		{"producer_requests_total", []string{"producer=shop"}, 2, 1},
		{"producer_results_total", []string{"producer=shop", "outcome=expired"}, 2, 1},
		{"producer_results_total", []string{"producer=other"}, 2, 1}, // of a result without a producer
		{"deadline_expirations_total", nil, 2, 1},
		{"order_duration_seconds", nil, 2, 1},
		{"errors_total", []string{"class=timeout"}, 2, 1},
		{"errors_total", nil, 2, 9},
		{"dead_letters_total", []string{"reason=expired"}, 2, 1},
		{"dead_letters_total", nil, 2, 8},
		{"redeliveries_total", []string{"lane=revoke-again"}, 2, 1},
		{"redeliveries_total", nil, 2, 7},
		{"unknown_fates_total", []string{"end=adopted"}, 2, 1},
		{"wakeup_repairs_total", []string{"kind=lost"}, 6, 1},
		{"wakeup_repairs_total", nil, 6, 3},
		{"parked_orders_total", nil, 2, 1},
		{"in_flight", []string{"lane=poll"}, 1, 1},
		{"in_flight", nil, 1, 7},
		{"poll_lateness_seconds", nil, 2, 1},
		{"breaker_state", []string{"state=outage"}, 1, 1},
		{"breaker_state", nil, 1, 3},
		{"operation_breaker_state", []string{"operation=enroll", "ca=ca-1", "state=open"}, 1, 1},
		{"operation_breaker_state", nil, 1, 3},
		{"gateway_request_duration_seconds", []string{"operation=enroll", "status=503"}, 2, 1},
		{"paused_until_timestamp_seconds", nil, float64(begun.Unix()), 1},
	} {
		if got, n := value(t, registry, want.name, want.labels...); got != want.value || n != want.series {
			t.Errorf("%s%v is %v in %d series, want %v in %d", want.name, want.labels, got, n, want.value, want.series)
		}
	}
	m.Gateway(true, "")
	m.Breaker("enroll", "ca-1", "half-open")
	m.Paused(time.Time{})
	for _, want := range []struct {
		name, label string
		value       float64
	}{
		{"breaker_state", "state=closed", 1}, {"breaker_state", "state=outage", 0}, {"breaker_state", "state=credentials", 0},
		{"operation_breaker_state", "state=open", 0}, {"operation_breaker_state", "state=half-open", 1}, {"operation_breaker_state", "state=closed", 0},
	} {
		if got, n := value(t, registry, want.name, want.label); got != want.value || n != 1 {
			t.Errorf("%s{%s} is %v, want %v", want.name, want.label, got, want.value)
		}
	}
	if at, _ := value(t, registry, "paused_until_timestamp_seconds"); at != 0 {
		t.Errorf("a pause that ended lasts until %v", at)
	}
}

// However many producers there are, the labels are bounded, and no event is lost.
func TestProducersAreBounded(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	m := New(registry)
	for i := range 3 * maxProducers {
		m.Request("issue", fmt.Sprint("p-", i))
		m.Request("issue", "p-0")
		m.Finished("issue", "issued", &entrustbus.Result{Producer: fmt.Sprint("p-", i)})
	}
	m.Request("", "") // of a subject that names none
	m.Request("issue", "no token")
	for _, want := range []struct {
		name, label string
		value       float64
		series      int
	}{
		{"producer_requests_total", "", 6*maxProducers + 2, maxProducers + 1},
		{"producer_requests_total", "producer=p-0", 3*maxProducers + 1, 1},
		{"producer_requests_total", "producer=p-99", 1, 1},
		{"producer_requests_total", "producer=p-100", 0, 0},
		{"producer_requests_total", "producer=other", 2*maxProducers + 2, 1},
		{"producer_results_total", "producer=p-1", 1, 7}, // each outcome begins at 0
		{"producer_results_total", "", 3 * maxProducers, 7*maxProducers + 1},
	} {
		var labels []string
		if want.label != "" {
			labels = []string{want.label}
		}
		if got, n := value(t, registry, want.name, labels...); got != want.value || n != want.series {
			t.Errorf("%s{%s} is %v in %d series, want %v in %d", want.name, want.label, got, n, want.value, want.series)
		}
	}
}

// A worker without metrics counts nothing: every method takes a nil receiver.
func TestNilCountsNothing(t *testing.T) {
	t.Parallel()
	var m *Worker
	v := reflect.ValueOf(m)
	for i := range v.NumMethod() {
		method := v.Type().Method(i)
		t.Run(method.Name, func(t *testing.T) {
			var in []reflect.Value
			for a := 1; a < method.Type.NumIn(); a++ {
				if method.Type.In(a) == reflect.TypeFor[context.Context]() {
					in = append(in, reflect.ValueOf(t.Context()))
					continue
				}
				in = append(in, reflect.Zero(method.Type.In(a)))
			}
			v.Method(i).Call(in) // panics, or it does not
		})
	}
	if v.NumMethod() < 14 {
		t.Errorf("only %d methods", v.NumMethod())
	}
}
