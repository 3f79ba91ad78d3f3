package main

import (
	"context"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/testbed/rig"
)

func setupSlowNet(_ context.Context, r *run) (setup, error) {
	rnd := r.draws(1)
	dialect := []gatewaytest.Dialect{gatewaytest.CertCtl, gatewaytest.CAGW}[rnd.IntN(2)]
	servers := r.servers
	if servers == 0 {
		servers = []int{1, 3}[r.seed%2]
	}
	r.say("servers %d, dialect %s", servers, dialect)
	return setup{
		servers: servers, workers: 3, links: true,
		gateway: gatewaytest.Config{Dialect: dialect, Seed: r.seed, ApproveAfter: 3 * time.Second, Latency: 5 * time.Millisecond},
		// A late call must not count as lost.
		settings: rig.Settings{Concurrency: 16, MaxWait: 20 * time.Minute, EnrollTimeout: 20 * time.Second},
	}, nil
}

// playSlowNet delays every chunk of bytes between workers and servers, and between
// workers and the gateway. It draws delay and jitter repeatedly. It cuts no connection:
// no order may be held.
func playSlowNet(ctx context.Context, r *run) (*tally, error) {
	rnd := r.draws(10)
	orders, err := r.beside(ctx, mixed, func(ctx context.Context) error {
		ctx, end := context.WithTimeout(ctx, r.span)
		defer end()
		for ctx.Err() == nil {
			for _, l := range r.bus {
				l.Jitter(between(rnd, 0, 30*time.Millisecond), between(rnd, 0, 60*time.Millisecond)+1)
			}
			r.wire.Jitter(between(rnd, 0, 50*time.Millisecond), between(rnd, 0, 100*time.Millisecond)+1)
			r.count("delays drawn")
			_ = testbed.Sleep(ctx, between(rnd, 3*time.Second, 8*time.Second))
		}
		for _, l := range append(r.bus, r.wire) {
			l.Heal()
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return r.finish(ctx, orders)
}
