// Package metrics counts what a worker does, and reads the bus for its gauges.
package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/snapshot"
)

const namespace = "entrust_worker"

// Worker counts what one worker does. Labels are bounded: by the contract, and of producers
// the first maxProducers that this worker meets have their names, and those that an operator suspended. No id or name is one. Its nil
// value counts nothing, so that a worker needs none. It is safe for concurrent use.
type Worker struct {
	requests, results, errors, deadLetters, redeliveries, fates, repairs *prometheus.CounterVec
	expirations, parkings, rollbacks                                     prometheus.Counter
	inFlight, wedged, breakers, suspended                                *prometheus.GaugeVec
	gateOpen                                                             *prometheus.GaugeVec
	duration, calls                                                      *prometheus.HistogramVec
	lateness                                                             prometheus.Histogram
	letters, letterAge, fullest, pending, unacked, age, known            *prometheus.GaugeVec
	waiting, oldestWaiting, lastScan, lastWholeScan, skew, pausedUntil   prometheus.Gauge
	auditBlocked                                                         prometheus.Gauge
	waitingFor                                                           *prometheus.GaugeVec
	producers                                                            *producers
}

// New registers a worker's metrics.
func New(reg prometheus.Registerer) *Worker {
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
	m := &Worker{
		requests:      counter("requests_total", "Requests delivered to this worker, by kind; redeliveries count again.", "kind"),
		results:       counter("results_total", "Results published, by kind and outcome.", "kind", "outcome"),
		errors:        counter("errors_total", "Calls to the gateway without a usable answer, by error class.", "class"),
		deadLetters:   counter("dead_letters_total", "Dead letters published, by reason.", "reason"),
		redeliveries:  counter("redeliveries_total", "Messages delivered more than once, by lane.", "lane"),
		fates:         counter("unknown_fates_total", "Indeterminate orders, by how they went on: adopted, resubmitted, held.", "end"),
		repairs:       counter("wakeup_repairs_total", "Repairs of the watchdog, by kind: stuck wake-ups scheduled again (stuck), orders without a wake-up scheduled again (lost), due messages of ended orders removed (dead).", "kind"),
		expirations:   f.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: "deadline_expirations_total", Help: "Orders that expired: no approval before their deadline."}),
		parkings:      f.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: "parked_orders_total", Help: "Orders parked for approval, each counted once."}),
		rollbacks:     f.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: "bus_rollbacks_total", Help: "Times that this worker noticed that the bus lost its last writes."}),
		inFlight:      gauge("in_flight", "Messages in flight in this worker, by lane.", "lane"),
		wedged:        gauge("wedged_messages", "Messages in flight for longer than their calls explain, by lane.", "lane"),
		gateOpen:      gauge("breaker_state", "1 for the state of the breaker of the whole gateway: closed (calls pass), outage or credentials.", "state"),
		breakers:      gauge("operation_breaker_state", "1 for the state of the breaker of an operation of a CA: closed, open or half-open.", "operation", "ca", "state"),
		suspended:     gauge("suspended", "1 for each suspension, by its scope; an empty label means all. The same for every worker.", "lane", "producer", "ca"),
		letters:       gauge("dead_letters", "Dead letters that NATS holds, by reason. The same for every worker.", "reason"),
		letterAge:     gauge("dead_letters_oldest_age_seconds", "Age of the oldest dead letter, by reason; 0 without one. The same for every worker.", "reason"),
		fullest:       gauge("dead_letters_fullest_ratio", "Share of the bound of dead letters that the fullest producer has used, by reason; 1 is full. The same for every worker.", "reason"),
		pending:       gauge("consumer_pending_messages", "Messages that NATS has not delivered to a worker yet, by lane. The same for every worker.", "lane"),
		unacked:       gauge("consumer_unacknowledged_messages", "Messages in flight in all workers, by lane. The same for every worker.", "lane"),
		age:           gauge("consumer_oldest_age_seconds", "Age of the oldest message that is not acknowledged, by lane; 0 without one. The same for every worker.", "lane"),
		known:         gauge("observed_timestamp_seconds", "When this worker last read the gauges of the bus, in Unix time, by their subject: lanes, ages, parked, dead_letters.", "of"),
		waiting:       single("parked_orders", "Parked orders: they wait for approval, a look-up or another try. The same for every worker."),
		waitingFor:    gauge("waiting_orders", "Parked orders at the watchdog's last scan, by phase: awaiting (approval), unaccepted (another try or the producer's turn), indeterminate (a look-up). The same for every worker.", "phase"),
		oldestWaiting: single("parked_oldest_age_seconds", "Age of the oldest parked order, by the watchdog's last scan; 0 without one. The same for every worker."),
		lastScan:      single("watchdog_last_scan_timestamp_seconds", "When the watchdog's last scan ended, in Unix time; 0 for never. The same for every worker."),
		lastWholeScan: single("watchdog_last_whole_scan_timestamp_seconds", "When the watchdog's last scan of every record ended, in Unix time; 0 for never. The same for every worker."),
		skew:          single("clock_skew_seconds", "Lead of the NATS server's clock over the clock of this worker's host; negative if it is behind. 0 before the first measurement."),
		auditBlocked:  single("audit_blocked", "1 while the audit trail takes no record, because its stream is full or does not answer. All lanes stop until it takes records."),
		pausedUntil:   single("paused_until_timestamp_seconds", "End of the pause that the gateway asked for, in Unix time; 0 without a pause."),
		calls: f.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "gateway_request_duration_seconds", Help: "Duration of calls to the gateway, by operation and HTTP status; status 0 is no answer.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120},
		}, []string{"operation", "status"}),
		duration: f.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "order_duration_seconds", Help: "Time from request to result, by kind and outcome.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 15, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 86400, 3 * 86400, 7 * 86400, 30 * 86400},
		}, []string{"kind", "outcome"}),
		lateness: f.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "poll_lateness_seconds", Help: "Delay of a poll after its due time.",
			Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 15, 60, 300, 3600},
		}),
	}
	m.producers = &producers{
		requests: counter("producer_requests_total", "Requests delivered to this worker, by producer: the first 100 producers each, the others as other.", "producer"),
		results:  counter("producer_results_total", "Results published, by producer and outcome: the first 100 producers each, the others as other.", "producer", "outcome"),
		known:    map[string]bool{},
	}
	m.begin()
	return m
}

// begin makes every series whose labels are known, at 0: of one that comes into being with
// its first event, increase() does not see that event.
func (m *Worker) begin() {
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
	for _, reason := range order.Reasons() {
		touch(m.deadLetters, string(reason))
	}
	for _, lane := range snapshot.Lanes() {
		touch(m.redeliveries, lane)
		m.inFlight.WithLabelValues(lane)
		m.wedged.WithLabelValues(lane)
	}
	for _, phase := range []order.Phase{order.Awaiting, order.Unaccepted, order.Indeterminate} {
		m.waitingFor.WithLabelValues(string(phase))
	}
	touch(m.fates, "adopted", "resubmitted", "held")
	touch(m.repairs, "stuck", "lost", "dead")
	for _, what := range observed {
		// From now on it grows old, unless it is read.
		m.known.WithLabelValues(what).SetToCurrentTime()
	}
}

// Request counts a delivery of a request.
func (m *Worker) Request(kind, producer string) {
	if m != nil {
		m.requests.WithLabelValues(kind).Inc()
		m.producers.requests.WithLabelValues(m.producers.label(producer)).Inc()
	}
}

// RolledBack counts that this worker found the bus without its last writes.
func (m *Worker) RolledBack() {
	if m != nil {
		m.rollbacks.Inc()
	}
}

// Finished counts a result that was published, with the outcome that stands.
func (m *Worker) Finished(kind, outcome string, r *entrustbus.Result) {
	if m == nil {
		return
	}
	m.results.WithLabelValues(kind, outcome).Inc()
	m.producers.results.WithLabelValues(m.producers.label(r.Producer), outcome).Inc()
	if outcome == string(entrustbus.OutcomeExpired) {
		m.expirations.Inc()
	}
	if !r.RequestedAt.IsZero() {
		m.duration.WithLabelValues(kind, outcome).Observe(r.FinishedAt.Sub(r.RequestedAt).Seconds())
	}
}

// GatewayError counts a call that brought no answer to use.
func (m *Worker) GatewayError(class string) {
	if m != nil {
		m.errors.WithLabelValues(class).Inc()
	}
}

// DeadLetter counts a dead letter.
func (m *Worker) DeadLetter(reason string) {
	if m != nil {
		m.deadLetters.WithLabelValues(reason).Inc()
	}
}

// Redelivered counts a message that was delivered before.
func (m *Worker) Redelivered(lane string) {
	if m != nil {
		m.redeliveries.WithLabelValues(lane).Inc()
	}
}

// Reconciled counts how an order of unknown fate went on.
func (m *Worker) Reconciled(end string) {
	if m != nil {
		m.fates.WithLabelValues(end).Inc()
	}
}

// Repaired counts what the watchdog put right: stuck, lost or dead.
func (m *Worker) Repaired(kind string, n int) {
	if m != nil {
		m.repairs.WithLabelValues(kind).Add(float64(n))
	}
}

// Parked counts an order that begins to wait for approval.
func (m *Worker) Parked() {
	if m != nil {
		m.parkings.Inc()
	}
}

// InFlight adds to the messages in flight of a lane.
func (m *Worker) InFlight(lane string, by float64) {
	if m != nil {
		m.inFlight.WithLabelValues(lane).Add(by)
	}
}

// Wedged says how many messages of a lane are in flight for longer than their calls
// explain.
func (m *Worker) Wedged(lane string, n int) {
	if m != nil {
		m.wedged.WithLabelValues(lane).Set(float64(n))
	}
}

// Poll observes how late a poll is.
func (m *Worker) Poll(late time.Duration) {
	if m != nil {
		m.lateness.Observe(late.Seconds())
	}
}

// Gateway says whether the gateway as a whole may be called, and why not: outage or
// credentials.
func (m *Worker) Gateway(ready bool, why string) {
	if m == nil {
		return
	}
	if ready {
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

// Breaker says in which state the breaker of an operation of a CA is.
func (m *Worker) Breaker(operation, ca, state string) {
	if m == nil {
		return
	}
	for _, s := range []string{"closed", "open", "half-open"} {
		v := 0.0
		if s == state {
			v = 1
		}
		m.breakers.WithLabelValues(operation, ca, s).Set(v)
	}
}

// Call counts one call to the gateway.
func (m *Worker) Call(operation string, status int, took time.Duration) {
	if m != nil {
		m.calls.WithLabelValues(operation, strconv.Itoa(status)).Observe(took.Seconds())
	}
}

// Paused says until when the gateway asked the fleet to wait; the zero time is never.
func (m *Worker) Paused(until time.Time) {
	switch {
	case m == nil:
	case until.IsZero():
		m.pausedUntil.Set(0)
	default:
		m.pausedUntil.Set(float64(until.Unix()))
	}
}

// Suspended says which suspensions stand: these, and no others. There are at most
// control.MaxSuspensions.
func (m *Worker) Suspended(all []control.Suspension) {
	if m == nil {
		return
	}
	m.suspended.Reset()
	for _, s := range all {
		m.suspended.WithLabelValues(s.Lane, s.Producer, s.CA).Set(1)
	}
}

// AuditBlocked notes whether the audit trail takes records.
func (m *Worker) AuditBlocked(blocked bool) {
	if m == nil {
		return
	}
	m.auditBlocked.Set(map[bool]float64{true: 1}[blocked])
}
