package main

import (
	"context"
	"fmt"
	"time"
)

// waiting is how many orders wait for approval while polls are measured. All of them are due
// all the time: each waits a second, and the gateway answers fewer than that.
const waiting = 4000

// polls holds how fast one worker polls orders that wait for approval and parks them again.
type polls struct {
	Rate float64 `json:"per_second"`
	// Possible is what the calls at once and the latency of the gateway allow.
	Possible float64 `json:"possible"`
}

// measurePolls measures on a worker of its own, and empties the stream of its wake-ups.
func (m *measurement) measurePolls(ctx context.Context, b *bus, sc scenario, gw gatewayReady) (*polls, error) {
	sc.env = []string{"ENTRUST_WORKER_POLL_FIRST=1s", "ENTRUST_WORKER_POLL_MAX=1s", "CERTCTL_ENTRUST_POLL_MAX_WAIT_SECONDS=86400",
		fmt.Sprintf("ENTRUST_WORKER_POLL_CONCURRENCY=%d", sc.InFlight)}
	s, err := startWorkers(ctx, b, "polls", m.bins[0].path, m.dir, &sc, gw)
	if err != nil {
		return nil, err
	}
	defer s.close()
	if err := hold(ctx, s, waiting); err != nil {
		return nil, err
	}
	polled := func() (float64, error) { return s.workers[0].Metric(ctx, "entrust_worker_poll_lateness_seconds_count") }
	before, err := polled()
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	select {
	case <-time.After(m.latency / 2):
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	after, err := polled()
	if err != nil {
		return nil, err
	}
	p := &polls{(after - before) / time.Since(begun).Seconds(), float64(sc.InFlight) / sc.Latency.Seconds()}
	parked, err := b.js.Stream(ctx, layout(s.road.prefix, sc.Replicas).Parked)
	if err != nil {
		return nil, err
	}
	return p, parked.Purge(ctx)
}
