package consumer

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
)

const namespace = "entrust_worker"

// Metrics counts what a worker does. Labels are bounded by the contract: no
// producer, id or name is one. Its nil value counts nothing, so that a worker
// needs none. It is safe for concurrent use.
type Metrics struct {
	requests, results, errors, deadLetters, redeliveries, fates, repairs *prometheus.CounterVec
	expirations, parkings                                                prometheus.Counter
	inHand                                                               *prometheus.GaugeVec
	gateOpen                                                             *prometheus.GaugeVec
	duration, calls                                                      *prometheus.HistogramVec
	lateness                                                             prometheus.Histogram
	letters, letterAge, pending, unacked, age, known                     *prometheus.GaugeVec
	waiting, oldestWaiting, heldUntil                                    prometheus.Gauge
}

// NewMetrics registers a worker's metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return f.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, labels)
	}
	single := func(name, help string) prometheus.Gauge {
		return f.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help})
	}
	m := &Metrics{
		requests:      counter("requests_total", "Deliveries of requests, by kind.", "kind"),
		results:       counter("results_total", "Results published, by kind and outcome.", "kind", "outcome"),
		errors:        counter("errors_total", "Calls to the gateway that gave no answer to use, by class.", "class"),
		deadLetters:   counter("dead_letters_total", "Dead letters published, by reason.", "reason"),
		redeliveries:  counter("redeliveries_total", "Messages delivered more than once, by lane.", "lane"),
		fates:         counter("unknown_fates_total", "Submissions whose answer was lost, by how they ended: adopted, resubmitted, held.", "end"),
		repairs:       counter("slot_repairs_total", "What the watchdog put right: slots armed again, stuck or lost, and wake-ups removed that were dead.", "kind"),
		expirations:   f.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: "deadline_expirations_total", Help: "Orders that nobody approved before their deadline."}),
		parkings:      f.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: "parked_orders_total", Help: "Orders that were parked, counted once each."}),
		inHand:        gauge("in_flight", "Messages in hand, by lane.", "lane"),
		gateOpen:      gauge("breaker_state", "1 for the state the breaker is in: closed (calls pass), outage or credentials.", "state"),
		letters:       gauge("dead_letters", "Dead letters there are, by reason. The same for every worker of a fleet.", "reason"),
		letterAge:     gauge("dead_letters_oldest_age_seconds", "Age of the oldest dead letter, by reason; 0 without one. The same for every worker.", "reason"),
		pending:       gauge("consumer_pending_messages", "Messages that no worker has been given yet, by lane. The same for every worker.", "lane"),
		unacked:       gauge("consumer_unacknowledged_messages", "Messages in the hands of all workers, by lane. The same for every worker.", "lane"),
		age:           gauge("consumer_oldest_age_seconds", "Age of the oldest message that is not done with, in hand or not, by lane; 0 without one. The same for every worker.", "lane"),
		known:         gauge("observed_timestamp_seconds", "When the gauges of the bus were last read, in Unix time, by what they tell of.", "of"),
		waiting:       single("parked_orders", "Orders that wait for approval. The same for every worker."),
		oldestWaiting: single("parked_oldest_age_seconds", "Age of the oldest order that waits for approval, as of the watchdog's last look; 0 without one. The same for every worker."),
		heldUntil:     single("held_until_timestamp_seconds", "Until when the gateway asked the fleet to wait, in Unix time; 0 for never."),
		calls: f.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "gateway_request_duration_seconds", Help: "Calls to the gateway, by operation and HTTP status; status 0 is no answer.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120},
		}, []string{"operation", "status"}),
		duration: f.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "order_duration_seconds", Help: "From request to result, by kind and outcome.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 15, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 86400, 3 * 86400, 7 * 86400, 30 * 86400},
		}, []string{"kind", "outcome"}),
		lateness: f.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "poll_lateness_seconds", Help: "From the time that a poll was due to the poll.",
			Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 15, 60, 300, 3600},
		}),
	}
	m.begin()
	return m
}

// begin makes every series whose labels are known, at 0: of one that comes into being with
// its first event, increase() does not see that event.
func (m *Metrics) begin() {
	touch := func(v *prometheus.CounterVec, values ...string) {
		for _, value := range values {
			v.WithLabelValues(value)
		}
	}
	of := map[entrustbus.Kind][]entrustbus.Outcome{
		entrustbus.KindRevoke: {entrustbus.OutcomeRevoked, entrustbus.OutcomeFailed, entrustbus.OutcomeUnconfirmed},
		entrustbus.KindCancel: {entrustbus.OutcomeCancelled, entrustbus.OutcomeFailed},
	}
	for _, kind := range []entrustbus.Kind{entrustbus.KindIssue, entrustbus.KindTrack} {
		of[kind] = []entrustbus.Outcome{
			entrustbus.OutcomeIssued, entrustbus.OutcomeRejected, entrustbus.OutcomeFailed,
			entrustbus.OutcomeExpired, entrustbus.OutcomeUnconfirmed, entrustbus.OutcomeCancelled,
		}
	}
	for kind, outcomes := range of {
		touch(m.requests, string(kind))
		for _, outcome := range outcomes {
			m.results.WithLabelValues(string(kind), string(outcome))
		}
	}
	for _, class := range []entrustbus.Class{
		entrustbus.ClassTimeout, entrustbus.ClassAuth, entrustbus.ClassRateLimited, entrustbus.ClassValidation,
		entrustbus.ClassUpstream5xx, entrustbus.ClassUpstream4xx, entrustbus.ClassNetwork, entrustbus.ClassPolicy, entrustbus.ClassOther,
	} {
		touch(m.errors, string(class))
	}
	for _, reason := range deadletter.Reasons() {
		touch(m.deadLetters, string(reason))
	}
	for _, lane := range []string{"issue", "revoke", "poll", "order"} {
		touch(m.redeliveries, lane)
		m.inHand.WithLabelValues(lane)
	}
	touch(m.fates, "adopted", "resubmitted", "held")
	touch(m.repairs, "stuck", "lost")
	for _, what := range observed {
		// From now on it grows old, unless it is read.
		m.known.WithLabelValues(what).SetToCurrentTime()
	}
}

func (m *Metrics) request(kind string) {
	if m != nil {
		m.requests.WithLabelValues(kind).Inc()
	}
}

func (m *Metrics) finished(kind, outcome string, r *entrustbus.Result) {
	if m == nil {
		return
	}
	m.results.WithLabelValues(kind, outcome).Inc()
	if !r.RequestedAt.IsZero() {
		m.duration.WithLabelValues(kind, outcome).Observe(r.FinishedAt.Sub(r.RequestedAt).Seconds())
	}
}

func (m *Metrics) gatewayError(class string) {
	if m != nil {
		m.errors.WithLabelValues(class).Inc()
	}
}

func (m *Metrics) deadLetter(reason string) {
	if m != nil {
		m.deadLetters.WithLabelValues(reason).Inc()
	}
}

func (m *Metrics) redelivered(lane string) {
	if m != nil {
		m.redeliveries.WithLabelValues(lane).Inc()
	}
}

func (m *Metrics) reconciled(end string) {
	if m != nil {
		m.fates.WithLabelValues(end).Inc()
	}
}

func (m *Metrics) repaired(r Repairs) {
	if m != nil {
		m.repairs.WithLabelValues("stuck").Add(float64(r.Stuck))
		m.repairs.WithLabelValues("lost").Add(float64(r.Lost))
		m.repairs.WithLabelValues("dead").Add(float64(r.Dead))
	}
}

func (m *Metrics) expired() {
	if m != nil {
		m.expirations.Inc()
	}
}

func (m *Metrics) parked() {
	if m != nil {
		m.parkings.Inc()
	}
}

func (m *Metrics) inFlight(lane string, by float64) {
	if m != nil {
		m.inHand.WithLabelValues(lane).Add(by)
	}
}

func (m *Metrics) poll(late time.Duration) {
	if m != nil {
		m.lateness.Observe(late.Seconds())
	}
}

// gate says whether calls may pass, and why not.
func (m *Metrics) gate(open bool, why string) {
	if m == nil {
		return
	}
	if open {
		why = "closed" // the breaker's word for letting calls pass
	}
	for _, state := range []string{"closed", "outage", "credentials"} {
		v := 0.0
		if state == why {
			v = 1
		}
		m.gateOpen.WithLabelValues(state).Set(v)
	}
}

// call counts one call to the gateway.
func (m *Metrics) call(operation string, status int, took time.Duration) {
	if m != nil {
		m.calls.WithLabelValues(operation, strconv.Itoa(status)).Observe(took.Seconds())
	}
}

func (m *Metrics) held(until time.Time) {
	if m != nil {
		m.heldUntil.Set(float64(until.Unix()))
	}
}

// oldestParked tells when the oldest parked order was requested; the zero time
// says that there is none.
func (m *Metrics) oldestParked(t time.Time) {
	switch {
	case m == nil:
	case t.IsZero():
		m.oldestWaiting.Set(0)
	default:
		m.oldestWaiting.Set(time.Since(t).Seconds())
	}
}
