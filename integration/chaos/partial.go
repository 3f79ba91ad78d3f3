package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/testbed/oracle"
	"github.com/entrust-worker/entrust-worker/internal/testbed/rig"
)

// partialCAs are the CAs of the gateway. The first is the workers' own.
var partialCAs = []string{"sim~issuing", "sim~second"}

// setupPartial is a small fleet, so that an outage costs few of the orders that arrive
// during it.
func setupPartial(_ context.Context, r *run) (setup, error) {
	dialect := []gatewaytest.Dialect{gatewaytest.CertCtl, gatewaytest.CAGW}[r.seed%2]
	r.say("dialect %s", dialect)
	return setup{
		servers: 1, workers: 2,
		gateway: gatewaytest.Config{
			Dialect: dialect, Seed: r.seed, CAIDs: partialCAs, ApproveAfter: 3 * time.Second,
			Latency: 2 * time.Millisecond, LatencyJitter: 20 * time.Millisecond,
		},
		settings: rig.Settings{Concurrency: 8, MaxWait: 20 * time.Minute},
	}, nil
}

// playPartial makes one operation or one CA fail at a time. Only enrollments answered 500
// may cost orders: those in flight, those that opened the breaker, and the canaries.
// Failing polls end no order, and a CA that refuses orders gets them later.
func playPartial(ctx context.Context, r *run) (*tally, error) {
	rnd := r.draws(10)
	sick := partialCAs[rnd.IntN(len(partialCAs))]
	lasts := r.span / 4 // 15 s
	status := func(op gatewaytest.Op, ca string, status int) gatewaytest.Fault {
		return gatewaytest.Fault{Op: op, CA: ca, Kind: gatewaytest.FaultStatus, Status: status}
	}
	poll := []int{404, 410, 500}[rnd.IntN(3)]
	down := partialCAs[1]
	var from, to time.Time
	list := []phase{
		{"enrollments at " + sick + " answered 500", lasts, r.outage(lasts), r.spoil(status(gatewaytest.OpEnroll, sick, 500))},
		{fmt.Sprintf("polls answered %d", poll), lasts * 2 / 3, 0, r.spoil(status(gatewaytest.OpPoll, "", poll))},
		{down + " answers 503", lasts, 0, func() (func(), error) {
			from = time.Now()
			end, err := r.spoil(status("", down, 503))()
			return func() { end(); to = time.Now() }, err
		}},
	}
	rnd.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	orders, err := r.beside(ctx, inTurn, func(ctx context.Context) error { return r.phases(ctx, r.span/16, list...) })
	if err != nil {
		return nil, err
	}
	t, err := r.finish(ctx, orders)
	if err != nil {
		return nil, err
	}
	r.checkOthers(t, orders, down, from, to)
	return t, nil
}

// inTurn makes orders for both CAs alternately. Some wait for approval.
func inTurn(i int) *oracle.Order {
	o := mixed(i)
	o.Request.(*entrustbus.Issue).CAID = partialCAs[i%2]
	return o
}

// checkOthers checks that orders of the working CA are submitted while the other CA is
// down.
func (r *run) checkOthers(t *tally, orders []*oracle.Order, down string, from, to time.Time) {
	var waits []time.Duration
	for _, o := range orders {
		res := t.Results[o.Key()]
		if res == nil || o.Request.(*entrustbus.Issue).CAID == down || res.RequestedAt.Before(from) || res.RequestedAt.After(to) {
			continue
		}
		waits = append(waits, res.SubmittedAt.Sub(res.RequestedAt))
	}
	if len(waits) == 0 {
		t.find("no order of the working CA came while %s was down", down)
		return
	}
	slices.Sort(waits)
	if typical := waits[len(waits)/2]; typical > 5*time.Second {
		t.find("%d orders of the working CA waited while %s was down, typically %v", len(waits), down, typical.Round(time.Millisecond))
	}
}
