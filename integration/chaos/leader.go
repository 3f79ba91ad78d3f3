package main

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/testbed/oracle"
)

// mostKills bounds the kills of the parked stream's leader for one seed.
const mostKills = 4

// killer kills the leader of the parked stream.
type killer struct {
	*run
	rnd *rand.Rand
}

// kill kills leaders until every order has a result or ctx ends. It returns the number of
// kills. The error is a failure to run servers.
func (k *killer) kill(ctx context.Context) (kills int, err error) {
	_ = testbed.Until(ctx, "an order is due", func() (bool, error) { return len(k.site.Wakes.Wakes()) > 0, nil })
	for ctx.Err() == nil {
		if kills < mostKills {
			_ = testbed.Sleep(ctx, between(k.rnd, 300*time.Millisecond, 2500*time.Millisecond))
		}
		left, err := k.unfinished(ctx)
		switch {
		case err != nil:
			continue // the stream of results has no leader yet
		case left == 0:
			return kills, nil
		case kills == mostKills, left < len(k.parked)/20:
			_ = testbed.Sleep(ctx, 200*time.Millisecond)
			continue
		}
		inFlight, err := k.inFlight(ctx)
		if err != nil {
			continue
		}
		leader, err := k.cluster.Leader(ctx, k.site.JS, k.site.Layout.Parked, "")
		if err != nil {
			return kills, err
		}
		end := k.faults.Begin(k.underWay())
		leader.Kill()
		kills++
		k.say("killed %s, with %d orders to go and %d due messages in flight", leader.Name, left, inFlight)
		_ = testbed.Sleep(ctx, between(k.rnd, 2*time.Second, 6*time.Second))
		err = leader.Restart()
		end()
		if err != nil {
			return kills, err
		}
		k.say("started %s again", leader.Name)
		// Two servers that are gone at once would be an outage, not a test of the leader.
		if err := k.site.CaughtUp(ctx); err != nil {
			k.say("%v", err)
			return kills, nil // out of time: the oracle reports what is missing
		}
		k.say("every replica has caught up")
	}
	return kills, nil
}

// unfinished returns the number of orders without a result.
func (k *killer) unfinished(ctx context.Context) (int, error) {
	n, err := oracle.Messages(ctx, k.site.JS, k.site.Layout.Results)
	return len(k.parked) - n, err
}

// inFlight waits briefly for due messages that the server has published and no worker has
// acknowledged. It returns their number.
func (k *killer) inFlight(ctx context.Context) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	err = testbed.Until(ctx, "a due message is in flight", func() (bool, error) {
		c, err := k.site.JS.Consumer(ctx, k.site.Layout.Parked, streams.ConsumerPoll)
		if err != nil {
			return false, err
		}
		n = int(c.CachedInfo().NumPending) + c.CachedInfo().NumAckPending
		return n > 0, nil
	})
	return n, err
}
