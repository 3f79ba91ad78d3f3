package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/testbed/oracle"
	"github.com/entrust-worker/entrust-worker/internal/testbed/rig"
)

// rollingWorkers is the number of workers that are deployed one after the other.
const rollingWorkers = 3

// setupRolling starts with workers of the previous revision. The first r.deployed workers
// are of this revision.
func setupRolling(ctx context.Context, r *run) (setup, error) {
	previous, err := r.tools.previous(ctx, r.previous)
	if err != nil {
		return setup{}, err
	}
	r.deployed = new(atomic.Int32)
	rnd := r.draws(1)
	dialect := []gatewaytest.Dialect{gatewaytest.CertCtl, gatewaytest.CAGW}[rnd.IntN(2)]
	lost := []string{"hold", "resubmit"}[rnd.IntN(2)]
	r.say("previous revision %s, dialect %s, on_lost_reply %s", r.previous, dialect, lost)
	return setup{
		servers: 1, workers: rollingWorkers,
		gateway: gatewaytest.Config{
			Dialect: dialect, Seed: r.seed, ApproveAfter: 4 * time.Second,
			Latency: 5 * time.Millisecond, LatencyJitter: 200 * time.Millisecond,
		},
		settings: rig.Settings{OnLostReply: lost, Concurrency: 16, MaxWait: 20 * time.Minute},
		worker: func(i int, s *rig.Settings) {
			if i >= int(r.deployed.Load()) {
				s.Binary = previous
			}
		},
	}, nil
}

// playRolling deploys this revision worker by worker, then the previous one again, while
// workers of both die. Some requests come twice and meet both revisions.
func playRolling(ctx context.Context, r *run) (*tally, error) {
	orders, err := r.beside(ctx, r.someTwice(ctx), func(ctx context.Context) error {
		kills, end := context.WithTimeout(ctx, r.span)
		defer end()
		return r.underKills(kills, 3*time.Second, func() error { return r.deploy(kills) })
	})
	if err != nil {
		return nil, err
	}
	return r.finish(ctx, orders)
}

// someTwice makes orders. Every fifth request is published again a little later.
func (r *run) someTwice(ctx context.Context) func(i int) *oracle.Order {
	return func(i int) *oracle.Order {
		o := mixed(i)
		if i%5 == 0 {
			time.AfterFunc(r.span/20+time.Duration(i%7)*time.Second, func() {
				if err := r.site.Resend(ctx, o.Request); err != nil {
					r.say("sending %s again: %v", o.ID(), err)
				}
			})
		}
		return o
	}
}

// deploy moves the boundary between the revisions up and down, one worker at a time. It
// stops each worker and starts it in the new revision.
func (r *run) deploy(ctx context.Context) error {
	step := r.span / (2*rollingWorkers + 2)
	for n := range 2 * rollingWorkers {
		if testbed.Sleep(ctx, step) != nil {
			return nil
		}
		i, to := n, n+1
		if n >= rollingWorkers {
			i = 2*rollingWorkers - 1 - n
			to = i
		}
		r.deployed.Store(int32(to))
		r.say("worker %d deployed; %d of %d are of this revision", i, to, rollingWorkers)
		r.count(fmt.Sprintf("%d of this revision", to))
		end := r.faults.Begin(r.setup.settings.Submissions())
		err := r.worker(i).Stop(20 * time.Second)
		end()
		if err != nil {
			r.say("stopping worker %d: %v", i, err) // it was killed meanwhile
		}
		if err := r.startWorker(i); err != nil {
			return err
		}
	}
	return nil
}
