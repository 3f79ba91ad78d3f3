package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/entrust-worker/entrust-worker/integration/harness"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// mostKills is how often a leader is killed for one seed, at most.
const mostKills = 4

// killer kills the leader of the parked stream.
type killer struct {
	*scene
	rnd *rand.Rand
}

// kill returns when every order has a result, or ctx ends, with the number of
// leaders that it killed before that. The error is one of running servers.
func (k *killer) kill(ctx context.Context) (kills int, err error) {
	_ = harness.Until(ctx, "an order is due", func() (bool, error) { return len(k.site.Witness.Wakes()) > 0, nil })
	for ctx.Err() == nil {
		if kills < mostKills {
			wait(ctx, k.between(300*time.Millisecond, 2500*time.Millisecond))
		}
		left, err := k.unfinished(ctx)
		switch {
		case err != nil:
			continue // nobody leads the results yet
		case left == 0:
			return kills, nil
		case kills == mostKills, left < len(k.orders)/20:
			wait(ctx, 200*time.Millisecond)
			continue
		}
		inHand, err := k.inHand(ctx)
		if err != nil {
			continue
		}
		leader, err := k.cluster.Leader(ctx, k.site.JS, k.site.Layout.Parked, "")
		if err != nil {
			return kills, err
		}
		leader.Kill()
		kills++
		k.tell("killed %s, with %d orders to go and %d wake-ups in hand", leader.Name, left, inHand)
		wait(ctx, k.between(2*time.Second, 6*time.Second))
		if err := leader.Restart(); err != nil {
			return kills, err
		}
		k.tell("started %s again", leader.Name)
		// Two that are gone at once would be an outage, not a test of the leader.
		if err := k.site.CaughtUp(ctx); err != nil {
			k.tell("%v", err)
			return kills, nil // out of time: the oracle tells what that means
		}
		k.tell("every replica has caught up")
	}
	return kills, nil
}

// unfinished is the number of orders without a result.
func (k *killer) unfinished(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	st, err := k.site.JS.Stream(ctx, k.site.Layout.Results)
	if err != nil {
		return 0, fmt.Errorf("reading the stream of results: %w", err)
	}
	return len(k.orders) - int(st.CachedInfo().State.Msgs), nil
}

// inHand waits a moment for wake-ups that the server has published and no worker
// has acknowledged, and returns how many there are.
func (k *killer) inHand(ctx context.Context) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	err = harness.Until(ctx, "a wake-up is in hand", func() (bool, error) {
		c, err := k.site.JS.Consumer(ctx, k.site.Layout.Parked, streams.ConsumerDue)
		if err != nil {
			return false, err
		}
		n = int(c.CachedInfo().NumPending) + c.CachedInfo().NumAckPending
		return n > 0, nil
	})
	return n, err
}

func (k *killer) between(least, most time.Duration) time.Duration {
	return least + time.Duration(k.rnd.Int64N(int64(most-least)))
}

// wait waits for d or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
