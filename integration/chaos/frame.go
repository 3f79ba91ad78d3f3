package main

import (
	"context"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/testbed/oracle"
)

const (
	// opening bounds the bad answers that one worker gets before its breaker opens: 5 in
	// a row, or 6 of the last 20.
	opening = 6
	// firstInterval is the time before an open breaker's first canary. It doubles.
	firstInterval = time.Second
)

// draws returns a sequence of random numbers that depends on the seed.
func (r *run) draws(sequence uint64) *rand.Rand { return rand.New(rand.NewPCG(r.seed, sequence)) }

// underWay returns the highest number of submissions that the workers have in flight.
func (r *run) underWay() int { return r.setup.workers * r.setup.settings.Submissions() }

// outage bounds the orders that a bad gateway, or a bad network to it, can leave
// indeterminate in a time: submissions in flight, submissions until the breaker opens,
// and one canary of the fleet per interval.
func (r *run) outage(lasts time.Duration) int {
	return r.underWay() + r.setup.workers*opening + bits.Len(uint(lasts/firstInterval)+1)
}

// flow publishes orders at a constant rate, and returns them when all are stored. next
// makes the i-th order.
func (r *run) flow(ctx context.Context, over time.Duration, next func(i int) *oracle.Order) []*oracle.Order {
	var all sync.WaitGroup
	var orders []*oracle.Order
	begun, n := time.Now(), r.options.orders
	for i := range n {
		if testbed.Sleep(ctx, time.Until(begun.Add(over*time.Duration(i)/time.Duration(n)))) != nil {
			break
		}
		o := next(i)
		orders = append(orders, o)
		all.Go(func() {
			if err := r.site.Submit(ctx, o); err != nil {
				r.say("%v", err)
			}
		})
	}
	all.Wait()
	return orders
}

// mixed makes the i-th order of a flow: issued at once, or pending for a while. Every
// scenario can use it.
func mixed(i int) *oracle.Order {
	fate := []string{"issue", "issue", "pending"}[i%3]
	return oracle.NewIssue(fmt.Sprintf("order-%d", i), fate, entrustbus.OutcomeIssued)
}

// atOnce makes the i-th order of a flow at a gateway that issues at once.
func atOnce(i int) *oracle.Order {
	return oracle.NewIssue(fmt.Sprintf("order-%d", i), "issue", entrustbus.OutcomeIssued)
}

// phase is a time with a fault. begin starts the fault and returns the function that ends
// it.
type phase struct {
	name  string
	lasts time.Duration
	most  int // orders that it can leave indeterminate
	begin func() (end func(), err error)
}

// phases plays phases one after the other, with a pause before each and after the last.
// It returns early if ctx ends.
func (r *run) phases(ctx context.Context, pause time.Duration, list ...phase) error {
	for _, p := range list {
		if testbed.Sleep(ctx, pause) != nil {
			return nil
		}
		r.say("%s", p.name)
		r.count(p.name)
		over := r.faults.Begin(p.most)
		end, err := p.begin()
		if err != nil {
			return fmt.Errorf("beginning %s: %w", p.name, err)
		}
		_ = testbed.Sleep(ctx, p.lasts)
		end()
		over()
	}
	_ = testbed.Sleep(ctx, pause)
	return nil
}

// spoil returns the begin function of a phase in which the gateway has faults.
func (r *run) spoil(rules ...gatewaytest.Fault) func() (func(), error) {
	return func() (func(), error) {
		var ids []int
		end := func() {
			for _, id := range ids {
				r.gateway.RemoveFault(id)
			}
		}
		for _, f := range rules {
			id, err := r.gateway.AddFault(f)
			if err != nil {
				end()
				return nil, err
			}
			ids = append(ids, id)
		}
		return end, nil
	}
}

// beside plays a flow of orders and faults concurrently. It returns when both have ended.
func (r *run) beside(ctx context.Context, next func(i int) *oracle.Order, wrong func(ctx context.Context) error) (orders []*oracle.Order, err error) {
	// Submit retries for as long as any fault may last.
	play, end := context.WithTimeout(ctx, r.span+settling)
	defer end()
	var flow sync.WaitGroup
	flow.Go(func() { orders = r.flow(play, r.span, next) })
	err = wrong(play)
	flow.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return orders, err
}

// finish waits until the bus is at rest, and checks the orders with the oracle.
func (r *run) finish(ctx context.Context, orders []*oracle.Order) (*tally, error) {
	r.say("all orders are published; %v", r.struck)
	rest, end := context.WithTimeout(ctx, settling)
	defer end()
	c := r.site.Oracle()
	if c.Others = r.setup.others; c.Others {
		// Requests of others need not end soon.
		for _, o := range orders {
			if _, err := r.site.Result(rest, o); err != nil {
				break // Check reports it
			}
		}
	} else {
		_ = c.Rest(rest) // CheckAtRest reports it
	}
	if len(r.cluster.Servers) > 1 {
		_ = r.site.CaughtUp(rest) // CheckAtRest reports what a replica lacks
	}
	r.faults.Spoilt(spoilt(r.gateway.Faults()))
	check := c.CheckAtRest
	if c.Others {
		check = c.Check
	}
	report, err := check(rest, orders)
	return tallyOf(report), err
}

// find adds a broken promise that the oracle does not check.
func (t *tally) find(format string, args ...any) {
	t.Findings = append(t.Findings, fmt.Sprintf(format, args...))
}
