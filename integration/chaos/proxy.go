package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/testbed/rig"
)

// setupProxy runs a gateway behind a front end. One kind speaks HTTP/2, takes few streams
// on a connection and ends connections with GOAWAY. The other speaks HTTP/1.1. Both close
// connections that are idle for a second.
func setupProxy(_ context.Context, r *run) (setup, error) {
	rnd := r.draws(1)
	dialect := []gatewaytest.Dialect{gatewaytest.CertCtl, gatewaytest.CAGW}[rnd.IntN(2)]
	old := r.seed%2 == 0
	r.say("dialect %s, HTTP/1.1 %v", dialect, old)
	return setup{
		servers: 1, workers: 2,
		gateway: gatewaytest.Config{
			Dialect: dialect, Seed: r.seed, ApproveAfter: 2 * time.Second,
			Latency: 5 * time.Millisecond, LatencyJitter: 600 * time.Millisecond,
			HTTP1Only: old, IdleTimeout: time.Second, MaxStreams: 2,
		},
		settings: rig.Settings{Concurrency: 8, MaxWait: 20 * time.Minute},
	}, nil
}

// playProxy makes a proxy answer in the gateway's place. If the proxy answers an
// enrollment that was written, the order is indeterminate and may be held. Refused
// streams, streams above a GOAWAY, and connections closed while idle cost no order.
func playProxy(ctx context.Context, r *run) (*tally, error) {
	rnd := r.draws(10)
	var list []phase
	for _, status := range []int{503, 404, 403} {
		for _, form := range []string{"text", "html", "empty", "spring", "other"} {
			op := []gatewaytest.Op{gatewaytest.OpEnroll, gatewaytest.OpPoll, ""}[rnd.IntN(3)]
			most := r.outage(r.span / 20)
			if op == gatewaytest.OpPoll {
				most = 0
			}
			list = append(list, phase{fmt.Sprintf("a proxy answers %d in the form %s to %q", status, form, op), r.span / 20, most,
				r.spoil(gatewaytest.Fault{Op: op, Kind: gatewaytest.FaultStatus, Status: status, Form: form})})
		}
	}
	rnd.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	goAway := phase{"a proxy ends connections", r.span / 10, 0,
		r.spoil(gatewaytest.Fault{Kind: gatewaytest.FaultGoAway, Fraction: 0.3})}
	// A ramp-up begins with one call at a time. Before the first outage GOAWAYs meet more
	// calls.
	list = append([]phase{goAway}, list[:6]...)
	orders, err := r.beside(ctx, mixed, func(ctx context.Context) error { return r.phases(ctx, r.span/15, list...) })
	if err != nil {
		return nil, err
	}
	t, err := r.finish(ctx, orders)
	if err != nil {
		return nil, err
	}
	said, err := r.saidOf("REFUSED_STREAM", "GOAWAY")
	if err == nil {
		t.Notes = append(t.Notes, fmt.Sprintf("the workers' logs name REFUSED_STREAM %d times, GOAWAY %d times", said[0], said[1]))
	}
	return t, err
}

// saidOf counts the lines of the workers' logs that contain each text.
func (r *run) saidOf(texts ...string) (counts []int, err error) {
	counts = make([]int, len(texts))
	for _, w := range r.site.Workers() {
		log, err := os.ReadFile(w.Log)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(log)) {
			for i, text := range texts {
				if strings.Contains(line, text) {
					counts[i]++
				}
			}
		}
	}
	return counts, nil
}
