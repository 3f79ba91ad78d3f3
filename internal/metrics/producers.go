package metrics

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

const (
	// maxProducers bounds the producers that have series of their own.
	maxProducers = 100
	// otherProducers is the label of all others. A producer of that name shares it.
	otherProducers = "other"
)

// producers counts by producer. It is safe for concurrent use.
type producers struct {
	requests, results *prometheus.CounterVec

	mu    sync.Mutex
	known map[string]bool
}

// label is the label of a producer. The series of a new one begin at 0, so that increase()
// sees what follows its first event.
func (p *producers) label(name string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known[name] {
		return name
	}
	if len(p.known) >= maxProducers || !entrustbus.ValidToken(name) {
		return otherProducers
	}
	p.known[name] = true
	p.requests.WithLabelValues(name)
	for _, outcome := range []entrustbus.Outcome{
		entrustbus.OutcomeIssued, entrustbus.OutcomeRevoked, entrustbus.OutcomeRejected, entrustbus.OutcomeFailed,
		entrustbus.OutcomeExpired, entrustbus.OutcomeUnconfirmed, entrustbus.OutcomeCancelled,
	} {
		p.results.WithLabelValues(name, string(outcome))
	}
	return name
}
