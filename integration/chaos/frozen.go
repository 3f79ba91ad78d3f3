package main

import (
	"context"
	"sync"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/testbed/rig"
)

// setupFrozen makes orders wait at the gateway for a while, so that a freeze meets orders
// at every step. The seed decides how workers treat a lost answer.
func setupFrozen(_ context.Context, r *run) (setup, error) {
	s := rig.Settings{Concurrency: 16, MaxWait: 20 * time.Minute}
	gw := gatewaytest.Config{
		Dialect: gatewaytest.CAGW, Seed: r.seed, ApproveAfter: 3 * time.Second,
		Latency: 5 * time.Millisecond, LatencyJitter: time.Second,
	}
	how := ""
	switch r.seed % 4 {
	case 0:
		how, s.OnLostReply = "cagw, hold", "hold"
	case 1:
		how, gw.Dialect, s.OnLostReply = "certctl, resubmit", gatewaytest.CertCtl, "resubmit"
	case 2:
		// Such a gateway issues at once.
		how, s.ApprovalNever, gw.ApproveAfter = "cagw, approval never", true, 0
	case 3:
		how, gw.Dialect = "certctl, hold", gatewaytest.CertCtl
	}
	r.say("%s", how)
	return setup{servers: 1, workers: 3, gateway: gw, settings: s}, nil
}

// playFrozen freezes at most two workers at a time, for longer than order lease, settle
// time and ack wait together. When a worker continues, others have taken over its
// in-flight orders and ended them.
func playFrozen(ctx context.Context, r *run) (*tally, error) {
	next := mixed
	if r.setup.settings.ApprovalNever {
		next = atOnce
	}
	orders, err := r.beside(ctx, next, func(ctx context.Context) error {
		ctx, end := context.WithTimeout(ctx, r.span)
		defer end()
		var both sync.WaitGroup
		// Each freezes its own worker.
		both.Go(func() { r.freeze(ctx, 20, 0) })
		both.Go(func() { r.freeze(ctx, 21, 1) })
		both.Wait()
		return nil
	})
	if err != nil {
		return nil, err
	}
	return r.finish(ctx, orders)
}

// freeze freezes one worker repeatedly until ctx ends.
func (r *run) freeze(ctx context.Context, sequence uint64, worker int) {
	rnd := r.draws(sequence)
	for testbed.Sleep(ctx, between(rnd, time.Second, 4*time.Second)) == nil {
		lasts := between(rnd, 10*time.Second, 18*time.Second)
		r.say("worker %d frozen for %v", worker, lasts.Round(time.Millisecond))
		r.count("worker frozen")
		end := r.faults.Begin(r.setup.settings.Submissions())
		w := r.worker(worker)
		w.Freeze(true)
		_ = testbed.Sleep(ctx, lasts)
		w.Freeze(false)
		end()
	}
}
