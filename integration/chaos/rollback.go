package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/testbed/oracle"
	"github.com/entrust-worker/entrust-worker/internal/testbed/rig"
)

// setupRollback runs one server, whose store is put back. The workers keep running, so
// each knows what the server acknowledged to it.
func setupRollback(_ context.Context, r *run) (setup, error) {
	dialect := []gatewaytest.Dialect{gatewaytest.CertCtl, gatewaytest.CAGW}[r.seed%2]
	r.say("dialect %s", dialect)
	return setup{
		servers: 1, workers: 2,
		gateway: gatewaytest.Config{
			Dialect: dialect, Seed: r.seed, ApproveAfter: 3 * time.Second,
			Latency: 5 * time.Millisecond, LatencyJitter: 100 * time.Millisecond,
		},
		settings: rig.Settings{Concurrency: 16, MaxWait: 20 * time.Minute},
	}, nil
}

// playRollback copies the store while requests wait in it, and lets workers handle them.
// It then puts the copy back: a power cut loses the last writes in the same way. The
// waiting requests are there again, without records and results. Later requests are gone,
// and their producer publishes them again, because it has no result. All may have been
// submitted once. The worker looks them up, and holds an order that it cannot look up. No
// order may be enrolled twice without a flag.
func playRollback(ctx context.Context, r *run) (*tally, error) {
	server := r.cluster.Servers[0]
	copied := filepath.Join(r.dir, "copy")
	// Any order submitted since the copy may be held, whenever the worker notices the
	// rollback.
	var back func()
	orders, err := r.beside(ctx, mixed, func(ctx context.Context) error {
		_ = testbed.Sleep(ctx, r.span/3)
		thawed := r.faults.Begin(r.underWay())
		r.freezeAll(true) // requests wait
		_ = testbed.Sleep(ctx, 3*time.Second)
		r.say("the store is copied")
		server.Stop()
		if err := os.CopyFS(copied, os.DirFS(server.Store())); err != nil {
			return fmt.Errorf("copying the store: %w", err)
		}
		if err := server.Restart(); err != nil {
			return err
		}
		r.freezeAll(false)
		thawed()
		_ = testbed.Sleep(ctx, r.span/3)
		r.say("the copy is put back")
		back = r.faults.Begin(r.options.orders)
		server.Kill()
		if err := os.RemoveAll(server.Store()); err != nil {
			return err
		}
		if err := os.Rename(copied, server.Store()); err != nil {
			return err
		}
		return server.Restart()
	})
	if back != nil {
		defer back()
	}
	if err != nil {
		return nil, err
	}
	if err := r.publishAgain(ctx, orders); err != nil {
		return nil, err
	}
	return r.finish(ctx, orders)
}

// freezeAll freezes the workers, or lets them continue.
func (r *run) freezeAll(on bool) {
	for i := range r.setup.workers {
		r.worker(i).Freeze(on)
	}
}

// publishAgain publishes every order that has no result.
func (r *run) publishAgain(ctx context.Context, orders []*oracle.Order) error {
	client, err := r.site.Client()
	if err != nil {
		return err
	}
	again := 0
	for _, o := range orders {
		try, end := context.WithTimeout(ctx, 3*time.Second)
		_, err := client.Lookup(try, o.ID())
		end()
		if err == nil {
			continue
		}
		if err := r.site.Submit(ctx, o); err != nil {
			return err
		}
		again++
	}
	r.say("%d of %d orders published again", again, len(orders))
	return nil
}
