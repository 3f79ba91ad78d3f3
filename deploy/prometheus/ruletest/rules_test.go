// Package ruletest evaluates the alerts of deploy/prometheus with the engine of Prometheus.
package ruletest

import (
	"encoding/json"
	"maps"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/template"
)

// begin is the time of minute 0.
var begin = time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)

// over is the value of a series at a minute; NaN: it has none then.
type over func(minute int) float64

func always(v float64) over { return func(int) float64 { return v } }

// rate is a counter that grows by so much a minute.
func rate(each float64) over { return func(minute int) float64 { return each * float64(minute) } }

// after is one value up to a minute, and another one from it on.
func after(minute int, before, then over) over {
	return func(m int) float64 {
		if m < minute {
			return before(m)
		}
		return then(m)
	}
}

var gone = always(math.NaN())

// at is begin plus so much, as a metric tells it.
func at(d time.Duration) float64 { return float64(begin.Add(d).Unix()) }

const day = 24 * time.Hour

// scenario is what an alert is tried in.
type scenario struct {
	series  map[string]over
	minutes int // it is looked at then
	summary string
}

const (
	build     = `entrust_worker_build_info{instance="a",version="v1"}`
	buildB    = `entrust_worker_build_info{instance="b",version="v1"}`
	breaker   = `entrust_worker_breaker_state{instance="a",state="closed"}`
	outage    = `entrust_worker_breaker_state{instance="a",state="outage"}`
	refused   = `entrust_worker_breaker_state{instance="a",state="credentials"}`
	operation = `entrust_worker_operation_breaker_state{instance="a",operation="enroll",ca="ca-1",state="open"}`
	notAfter  = `entrust_worker_client_cert_not_after_seconds{instance="a"}`
	letters   = `entrust_worker_dead_letters_total{instance="a",reason="`
	good      = `entrust_worker_results_total{instance="a",kind="issue",outcome="issued"}`
	bad       = `entrust_worker_results_total{instance="a",kind="issue",outcome="failed"}`
	revoked   = `entrust_worker_order_duration_seconds_count{instance="a",kind="revoke",outcome="revoked"}`
	inTime    = `entrust_worker_order_duration_seconds_bucket{instance="a",kind="revoke",outcome="revoked",le="60.0"}`
	suspended = `entrust_worker_suspended{instance="a",lane="issue",ca="ca-1"}`
	polls     = `entrust_worker_poll_lateness_seconds_bucket{instance="a",le="`
)

// fires has for each alert a scenario in which it fires, and what it says then.
var fires = map[string]scenario{
	"EntrustWorkerDown":                {map[string]over{build: after(10, always(1), gone)}, 30, "No worker is up. Requests wait in their stream, and no order is polled."},
	"EntrustWorkerGone":                {map[string]over{build: always(1), buildB: after(20, always(1), gone)}, 40, "Workers that are gone since the last hour: 1. The other workers do their work."},
	"EntrustNATSDisconnected":          {map[string]over{`entrust_worker_nats_connected{instance="a"}`: after(10, always(1), always(0)), `entrust_worker_nats_connected{instance="b"}`: always(1)}, 13, "The worker a is not connected to NATS. It does no work."},
	"EntrustNATSFlaps":                 {map[string]over{`entrust_worker_nats_reconnects_total{instance="a"}`: rate(0.37)}, 60, "The worker a connected to NATS again 11 times in 30 minutes."},
	"EntrustOrdersInDoubt":             {map[string]over{`entrust_worker_waiting_orders{instance="a",phase="indeterminate"}`: always(1234567), `entrust_worker_waiting_orders{instance="a",phase="awaiting"}`: always(9e6)}, 20, "1234567 orders are indeterminate: the answers to their submissions were lost, and each waits for a look-up."},
	"EntrustGatewayOutage":             {map[string]over{outage: after(10, always(0), always(1))}, 16, "The gateway has not answered for 5 minutes. Requests wait; none fails."},
	"EntrustOperationBreakerOpen":      {map[string]over{operation: always(1)}, 6, "The breaker of enroll at CA ca-1 has been open or half-open for 5 minutes. Its orders wait; other calls pass."},
	"EntrustCallsSuspended":            {map[string]over{suspended: after(100, always(1), after(108, gone, always(1)))}, 8*60 + 5, "Calls to the gateway have been suspended for 8 hours: lane issue, all producers, CA ca-1. Their orders wait until an operator resumes them."}, // the only worker is away for 8 minutes
	"EntrustCredentialsRefused":        {map[string]over{refused: always(1)}, 3, "The gateway refuses the client certificate, or a worker cannot read its key pair. Requests wait; none fails."},
	"EntrustClientCertificateEnds":     {map[string]over{notAfter: always(at(13*day + 90*time.Second))}, 1, "The client certificate for the gateway expires in 13d 0h 0m 30s."},
	"EntrustClientCertificateEndsSoon": {map[string]over{notAfter: always(at(26 * time.Hour))}, 60, "The client certificate for the gateway expires in 1d 1h 0m 0s."},
	"EntrustPolicyFileRejected":        {map[string]over{`entrust_worker_policy_file_rejected{instance="a"}`: always(1)}, 6, "A policy file is missing or invalid. The worker keeps the policy before it, and would not start again."},
	"EntrustAuditBlocked":              {map[string]over{`entrust_worker_audit_blocked{instance="a"}`: always(1)}, 2, "The audit trail takes no record. Workers begin no order; requests wait, and none fails."},
	"EntrustWrongCertificate":          {map[string]over{letters + `wrong-certificate"}`: after(5, always(0), always(1))}, 8, "The gateway issued a certificate with a wrong key, name or validity. The worker did not publish it. Revoke it."},
	"EntrustRequestsCrash":             {map[string]over{letters + `crashed"}`: after(5, always(0), always(1))}, 8, "A request crashed its worker three times. The worker made it a dead letter."},
	"EntrustBusRolledBack":             {map[string]over{`entrust_worker_bus_rollbacks_total{instance="a"}`: after(5, always(0), always(1))}, 8, "NATS lost its last writes. Orders from before the loss may have been submitted; on_rollback decides about them."},
	"EntrustUnconfirmedOrders":         {map[string]over{`entrust_worker_dead_letters{instance="a",reason="unconfirmed"}`: always(7)}, 2, "7 orders ended as unconfirmed: the gateway may have accepted them. An operator must decide."},
	"EntrustDeadLettersGrowOld":        {map[string]over{`entrust_worker_dead_letters_oldest_age_seconds{instance="a",reason="rejected"}`: always(4*86400 + 0.7)}, 1, "The oldest dead letter with reason rejected is 4d 0h 0m 0s old."},
	"EntrustDeadLettersGrow":           {map[string]over{letters + `rejected"}`: rate(1.01)}, 90, "Workers published 61 dead letters with reason rejected in an hour."},
	"EntrustDeadLettersFull":           {map[string]over{`entrust_worker_dead_letters_fullest_ratio{instance="a",reason="rejected"}`: always(0.87654)}, 1, "A producer has 88 % of the dead letters with reason rejected that the stream keeps for it. At 100 % the stream removes the oldest."},
	"EntrustRequestsWait":              {map[string]over{`entrust_worker_consumer_pending_messages{instance="a",lane="issue"}`: always(1500), breaker: always(1)}, 20, "1500 requests wait in the lane issue although the gateway answers."},
	"EntrustRequestsGrowOld":           {map[string]over{`entrust_worker_consumer_oldest_age_seconds{instance="a",lane="issue"}`: always(3600.25), breaker: always(1)}, 10, "A request in the lane issue has had no result for 1h 0m 0s although the gateway answers."},
	"EntrustMessagesWedged":            {map[string]over{`entrust_worker_wedged_messages{instance="a",lane="issue"}`: always(2)}, 6, "2 messages of the lane issue have been in flight for longer than their calls explain. The log shows what each waits for."},
	"EntrustPollsLate":                 {map[string]over{polls + `60"}`: always(0), polls + `300"}`: rate(10), polls + `+Inf"}`: rate(10)}, 40, "One poll in a hundred is more than a minute late."},
	"EntrustOrdersExpire":              {map[string]over{`entrust_worker_deadline_expirations_total{instance="a"}`: rate(0.4321)}, 90, "26 orders expired in an hour: they were not approved before their deadline."},
	"EntrustOldestParkedOrder":         {map[string]over{`entrust_worker_parked_oldest_age_seconds{instance="a"}`: always(8 * 86400)}, 1, "The oldest waiting order has waited for 8d 0h 0m 0s."},
	"EntrustParkedOrdersRepaired":      {map[string]over{`entrust_worker_wakeup_repairs_total{instance="a",kind="lost"}`: after(30, always(0), always(3))}, 60, "The watchdog scheduled 3 lost wake-ups again. The parked stream lost them, or fires late."},
	"EntrustWatchdogScanOverdue":       {map[string]over{`entrust_worker_watchdog_last_scan_timestamp_seconds{instance="a"}`: always(at(0))}, 30, "The watchdog has completed no scan for 30m 0s. Orders that lost their wake-up are not found."},
	"EntrustWatchdogWholeScanOverdue":  {map[string]over{`entrust_worker_watchdog_last_whole_scan_timestamp_seconds{instance="a"}`: always(at(-3 * day))}, 1445, "The watchdog has not read every record for 4d 0h 5m 0s. Orders that lost a later wake-up are not found."},
	"EntrustClockSkew":                 {map[string]over{`entrust_worker_clock_skew_seconds{instance="a"}`: always(-3600)}, 15, "The clocks of a and the NATS server differ by 1h 0m 0s."},
	"EntrustRedeliveries":              {map[string]over{`entrust_worker_redeliveries_total{instance="a",lane="poll"}`: rate(120)}, 40, "NATS delivers messages of the lane poll again and again."},
	"EntrustGatewayPause":              {map[string]over{`entrust_worker_paused_until_timestamp_seconds{instance="a"}`: always(at(time.Hour))}, 10, "The gateway asked the fleet to wait for another 50m 0s."},
	"EntrustBusNotObserved":            {map[string]over{`entrust_worker_observed_timestamp_seconds{instance="a",of="lanes"}`: always(at(0))}, 10, "No worker has read lanes from NATS for 5 minutes. These figures are stale."},
	"EntrustResultsMissFast":           {map[string]over{good: rate(80), bad: rate(20)}, 90, "20 % of the results in the last hour are failed or unconfirmed. The objective is 1 % at most."},
	"EntrustResultsMissSlowly":         {map[string]over{good: rate(93), bad: rate(7)}, 500, "7 % of the results in the last 6 hours are failed or unconfirmed. The objective is 1 % at most."},
	"EntrustRevocationsMissFast":       {map[string]over{revoked: rate(10), inTime: rate(7.5)}, 90, "25 % of the revocations in the last hour took more than a minute. The objective is 1 % at most."},
	"EntrustRevocationsMissSlowly":     {map[string]over{revoked: rate(10), inTime: rate(9)}, 500, "10 % of the revocations in the last 6 hours took more than a minute. The objective is 1 % at most."},
}

// rests has scenarios in which an alert must not fire.
var rests = map[string][]scenario{
	"EntrustWorkerDown":           {{series: map[string]over{build: always(1)}, minutes: 30}},
	"EntrustWorkerGone":           {{series: map[string]over{build: always(1), buildB: after(20, always(1), gone)}, minutes: 28}, {series: map[string]over{build: always(1), buildB: after(20, always(1), gone)}, minutes: 100}, {series: map[string]over{build: always(1), buildB: after(20, gone, always(1))}, minutes: 40}},
	"EntrustNATSDisconnected":     {{series: map[string]over{`entrust_worker_nats_connected{instance="a"}`: after(10, always(0), always(1))}, minutes: 11}},
	"EntrustOperationBreakerOpen": {{series: map[string]over{`entrust_worker_operation_breaker_state{operation="enroll",ca="ca-1",state="closed"}`: always(1), operation: always(0)}, minutes: 30}},
	"EntrustCallsSuspended":       {{series: map[string]over{suspended: after(400, always(1), gone)}, minutes: 8*60 + 5}, {series: map[string]over{suspended: after(200, always(1), after(260, gone, always(1)))}, minutes: 9 * 60}},
	"EntrustRequestsWait":         {{series: map[string]over{`entrust_worker_consumer_pending_messages{lane="issue"}`: always(1500), breaker: always(0)}, minutes: 30}}, // the gateway is away: its own alert says so
	"EntrustWatchdogScanOverdue":  {{series: map[string]over{`entrust_worker_watchdog_last_scan_timestamp_seconds`: func(m int) float64 { return at(time.Duration(m) * time.Minute) }}, minutes: 60}},
	// A short burst, a trouble that is over, and no traffic at all.
	"EntrustResultsMissFast":     {{series: map[string]over{good: rate(99), bad: rate(0.5)}, minutes: 90}, {series: map[string]over{good: rate(80), bad: after(60, rate(20), always(1200))}, minutes: 75}, {series: map[string]over{good: always(5), bad: always(5)}, minutes: 90}},
	"EntrustResultsMissSlowly":   {{series: map[string]over{good: rate(96), bad: rate(4)}, minutes: 500}},
	"EntrustRevocationsMissFast": {{series: map[string]over{revoked: rate(10), inTime: rate(9.95)}, minutes: 90}, {series: map[string]over{revoked: always(3), inTime: always(3)}, minutes: 90}},
}

var queries = parser.NewParser(parser.Options{})

func engine(t *testing.T) *promql.Engine {
	t.Helper()
	e := promql.NewEngine(promql.EngineOpts{
		MaxSamples: 1e6, Timeout: time.Minute, LookbackDelta: 5 * time.Minute, Parser: queries,
		NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
	})
	t.Cleanup(func() { _ = e.Close() })
	return e
}

func groups(t *testing.T) (records, alerts map[string]rulefmt.Rule) {
	t.Helper()
	file, errs := rulefmt.ParseFile("../rules.yaml", false, model.UTF8Validation, queries, nil)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	records, alerts = map[string]rulefmt.Rule{}, map[string]rulefmt.Rule{}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if r.Record != "" {
				records[r.Record] = r
				continue
			}
			if _, twice := alerts[r.Alert]; twice {
				t.Errorf("duplicate alert %s", r.Alert)
			}
			alerts[r.Alert] = r
		}
	}
	return records, alerts
}

// play has a scenario happen, minute by minute, and returns what the alert says in the end, sorted.
func play(t *testing.T, rule rulefmt.Rule, records map[string]rulefmt.Rule, s scenario) []string {
	t.Helper()
	e, st := engine(t), &store{series: map[string]*series{}}
	ask := func(query string, now time.Time) promql.Vector {
		t.Helper()
		q, err := e.NewInstantQuery(t.Context(), st, nil, query, now)
		if err != nil {
			t.Fatal(err)
		}
		defer q.Close()
		v, err := q.Exec(t.Context()).Vector()
		if err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		return append(promql.Vector(nil), v...)
	}
	since, says := map[string]time.Time{}, []string(nil)
	for minute := range s.minutes + 1 {
		now := begin.Add(time.Duration(minute) * time.Minute)
		for text, value := range s.series {
			v := value(minute)
			if math.IsNaN(v) {
				continue
			}
			l, err := queries.ParseMetric(text)
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			st.add(l, now, v)
		}
		for name, r := range records {
			if !strings.Contains(rule.Expr, name) {
				continue
			}
			for _, got := range ask(r.Expr, now) {
				st.add(labels.NewBuilder(got.Metric).Set(labels.MetricName, name).Labels(), now, got.F)
			}
		}
		active := map[string]time.Time{}
		says = nil
		for _, got := range ask(rule.Expr, now) {
			key := got.Metric.String()
			active[key] = now
			if before, ok := since[key]; ok {
				active[key] = before
			}
			if now.Sub(active[key]) < time.Duration(rule.For) {
				continue
			}
			data := template.AlertTemplateData(got.Metric.Map(), nil, "", got)
			text := "{{$labels := .Labels}}{{$value := .Value}}" + rule.Annotations["summary"]
			said, err := template.NewTemplateExpander(t.Context(), text, rule.Alert, data, model.TimeFromUnixNano(now.UnixNano()), nil, nil, nil).Expand()
			if err != nil {
				t.Fatal(err)
			}
			says = append(says, said)
		}
		since = active
	}
	slices.Sort(says)
	return says
}

var fraction = regexp.MustCompile(`[0-9]\.[0-9]|e[+-][0-9]`)

// Each alert fires where it should, in whole numbers, and rests where it should.
func TestAlerts(t *testing.T) {
	t.Parallel()
	records, alerts := groups(t)
	for name := range fires {
		if _, ok := alerts[name]; !ok {
			t.Errorf("there is no alert %s", name)
		}
	}
	for name := range rests {
		if _, ok := alerts[name]; !ok {
			t.Errorf("there is no alert %s", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(alerts)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, ok := fires[name]
			if !ok {
				t.Fatal("nothing tests it")
			}
			got := play(t, alerts[name], records, s)
			if len(got) != 1 || got[0] != s.summary {
				t.Errorf("it says %q, want %q", got, s.summary)
			}
			if strings.Contains(alerts[name].Annotations["summary"], "$value") && len(got) > 0 && fraction.MatchString(got[0]) {
				t.Errorf("it says a fraction: %s", got[0])
			}
			if nothing := play(t, alerts[name], records, scenario{series: map[string]over{build: always(1)}, minutes: 30}); len(nothing) != 0 {
				t.Errorf("it fires where nothing is wrong: %s", nothing)
			}
			for i, s := range rests[name] {
				if got := play(t, alerts[name], records, s); len(got) != 0 {
					t.Errorf("it fires in the scenario %d of rest: %s", i, got)
				}
			}
		})
	}
}

// Every query of the dashboard is one, as Grafana sends it.
func TestDashboardQueriesParse(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../grafana/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(data, &board); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			n++
			if _, err := queries.ParseExpr(strings.ReplaceAll(target.Expr, "$__rate_interval", "2m")); err != nil {
				t.Errorf("%s: %v", p.Title, err)
			}
		}
	}
	if n < 30 {
		t.Errorf("only %d queries", n)
	}
}
