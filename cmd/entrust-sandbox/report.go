package main

import (
	"context"
	"slices"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/testbed/oracle"
)

// settleWithin is how long the check of a batch waits for workers to finish what
// comes after the last result. What is left then belongs to no result.
const settleWithin = 5 * time.Second

// report is what a batch came to.
type report struct {
	oracle.Report
	summary summary
	// atOnce and waited are how long the results of orders took, sorted.
	atOnce, waited []time.Duration
}

// check compares a batch with what the bus and the gateway hold in the end. ended are
// the outcomes that came back, by request id: what was issued may have a revocation.
func (s *sandbox) check(ctx context.Context, o *options, b *batch, ended map[string]entrustbus.Outcome, took time.Duration) (*report, error) {
	c := oracle.Oracle{JS: s.bus.js, Layout: s.bus.layout, Gateway: s.gw, Others: true, Chain: true, Faults: new(oracle.Faults)}
	if b.resumed || o.workers == 0 {
		// A worker may have died at any time: it may hold any order.
		c.Faults = nil
	}
	rest, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	_ = c.Rest(rest) // others may use the bus too

	orders := make([]*oracle.Order, 0, len(b.Orders))
	for i := range b.Orders {
		q := &b.Orders[i]
		order := oracle.IssueOf(q.issue(), q.planned())
		order.Producer = producerName
		orders = append(orders, order)
		if q.Revoke != "" && ended[q.ID] == entrustbus.OutcomeIssued {
			orders = append(orders, &oracle.Order{
				Producer: producerName, Want: []entrustbus.Outcome{entrustbus.OutcomeRevoked},
				Request: &entrustbus.Revoke{ID: q.revocationID(), Reason: q.Revoke, Labels: revocationLabels()},
			})
		}
	}
	found, err := c.Check(ctx, orders)
	if err != nil {
		return nil, err
	}
	r := &report{Report: *found, summary: summary{
		Requests: len(orders), Orders: len(b.Orders), Revocations: len(orders) - len(b.Orders), Lost: found.Lost, DuplicateEnrollments: found.DoubleEnrollments,
		DuplicateResults: found.SecondResults, Seconds: took.Seconds(),
	}}
	for outcome, n := range found.Outcomes {
		r.summary.count(outcome, n)
	}
	for i := range b.Orders {
		q := &b.Orders[i]
		res := found.Results[producerName+"."+q.ID]
		switch {
		case res == nil || res.Outcome != entrustbus.OutcomeIssued:
		case q.Pending:
			r.waited = append(r.waited, res.FinishedAt.Sub(res.RequestedAt))
		default:
			r.atOnce = append(r.atOnce, res.FinishedAt.Sub(res.RequestedAt))
		}
	}
	slices.Sort(r.atOnce)
	slices.Sort(r.waited)
	return r, nil
}
