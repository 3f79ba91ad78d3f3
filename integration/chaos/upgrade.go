package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/testbed/rig"
)

// olderLine is the release line of nats-server that the scenario upgrade starts from and
// returns to. The newer line is the version that chaos was built with.
const olderLine = "v2.14"

// setupUpgrade starts with servers of the older line.
func setupUpgrade(ctx context.Context, r *run) (setup, error) {
	older, err := r.tools.server(ctx, olderLine)
	if err != nil {
		return setup{}, fmt.Errorf("the scenario upgrade cannot be played without nats-server %s: %w", olderLine, err)
	}
	servers := r.servers
	if servers == 0 {
		servers = []int{1, 3}[r.seed%2]
	}
	r.say("servers %d", servers)
	return setup{
		servers: servers, workers: 2, server: older,
		// Each order is parked across at least one change of the servers.
		gateway:  gatewaytest.Config{Seed: r.seed, ApproveAfter: r.span / 3, Latency: 5 * time.Millisecond, LatencyJitter: 50 * time.Millisecond},
		settings: rig.Settings{Concurrency: 16, MaxWait: 20 * time.Minute, PollMax: 3 * time.Second},
	}, nil
}

// playUpgrade changes the servers to the newer line, back, and to the newer line again,
// one server after the other, like an operator: each server catches up before the next
// one stops.
func playUpgrade(ctx context.Context, r *run) (*tally, error) {
	newer := testbed.ServerVersion()
	orders, err := r.beside(ctx, mixed, func(ctx context.Context) error {
		for _, to := range []struct{ bin, version string }{{"", newer}, {r.setup.server, olderLine}, {"", newer}} {
			_ = testbed.Sleep(ctx, r.span/10)
			for _, s := range r.cluster.Servers {
				if err := r.change(ctx, s, to.bin, to.version); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return r.finish(ctx, orders)
}

// change restarts a server as another version, and returns when it has caught up.
func (r *run) change(ctx context.Context, s *testbed.Server, bin, version string) error {
	r.say("%s becomes %s", s.Name, version)
	r.count("server changed to " + version)
	defer r.faults.Begin(r.underWay())()
	s.Stop()
	s.Use(bin)
	if err := s.Restart(); err != nil {
		return err
	}
	nc, err := s.Connect()
	if err != nil {
		return err
	}
	runs := nc.ConnectedServerVersion()
	nc.Close()
	if !strings.HasPrefix("v"+runs, version) {
		return fmt.Errorf("%s runs nats-server %s, not %s", s.Name, runs, version)
	}
	ctx, end := context.WithTimeout(ctx, 2*time.Minute)
	defer end()
	return r.site.CaughtUp(ctx)
}
