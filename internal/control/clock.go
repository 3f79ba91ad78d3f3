package control

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const clockPrefix = "clock." // one key for each worker that measured outside of its presence

// Clock is the NATS server's time. The store time of a key that this worker wrote shows
// it. Between two measurements Clock runs on the host's monotonic clock, so a wrong or
// stepped host clock does not move it. The zero value is not measured yet. Safe for
// concurrent use.
type Clock struct {
	mu   sync.Mutex
	last bounds
}

// Now returns the server's time. It returns false before the first measurement.
func (c *Clock) Now() (time.Time, bool) { return c.at(time.Now()) }

// Skew returns how far the server's clock is ahead of the host's; negative if it is
// behind. uncertainty is half the shortest round trip of the measurements. ok is false
// before the first measurement.
func (c *Clock) Skew() (skew, uncertainty time.Duration, ok bool) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last.at.IsZero() {
		return 0, 0, false
	}
	low, high := c.last.on(now)
	middle := low.Add(high.Sub(low) / 2)
	return middle.Sub(now.Round(0)), high.Sub(low) / 2, true
}

// at returns the server's time at a time of the host.
func (c *Clock) at(now time.Time) (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last.at.IsZero() {
		return time.Time{}, false
	}
	low, high := c.last.on(now)
	return low.Add(high.Sub(low) / 2), true
}

// measured records one measurement: the server stored, at stored on its clock, a write
// that the host sent at sent and saw acknowledged at acked.
func (c *Clock) measured(sent, acked, stored time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = c.last.narrowed(bounds{at: acked, low: stored, high: stored.Add(acked.Sub(sent))})
}

// bounds are the earliest and the latest server time that were possible at a time of the
// host.
type bounds struct {
	at        time.Time
	low, high time.Time
}

// on returns the bounds at another time of the host.
func (b bounds) on(now time.Time) (low, high time.Time) {
	passed := now.Sub(b.at)
	return b.low.Add(passed), b.high.Add(passed)
}

// narrowed returns the overlap of old and new bounds. If they do not overlap, one of the
// two clocks was set or the host slept, and the new bounds count.
func (b bounds) narrowed(n bounds) bounds {
	if b.at.IsZero() {
		return n
	}
	low, high := b.on(n.at)
	if low.After(n.high) || high.Before(n.low) {
		return n
	}
	if low.After(n.low) {
		n.low = low
	}
	if high.Before(n.high) {
		n.high = high
	}
	return n
}

// MeasureClock measures the server's time now instead of with the next presence. Call it
// when something shows that the server's clock was set. Concurrent callers share one
// measurement.
func (b *Bucket) MeasureClock(ctx context.Context) error {
	asked := time.Now()
	b.measuring.Lock()
	defer b.measuring.Unlock()
	b.mu.Lock()
	shared := b.timed.After(asked)
	b.mu.Unlock()
	if shared {
		return nil
	}
	const what = "the server's clock"
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	// Only Run may change the presence, because Run checks its revision. So this is
	// another key.
	key := clockPrefix + token(b.worker)
	var sent time.Time
	revision, err := b.update(ctx, what, key, presenceTTL, func(entry) any {
		sent = time.Now()
		return struct{}{}
	})
	acked := time.Now()
	if err != nil {
		return err
	}
	e, err := b.read(ctx, key)
	if err != nil {
		return fmt.Errorf("reading %s: %w", what, err)
	}
	if e.revision == revision {
		b.took(sent, acked, e.stored)
	}
	return nil
}

// took records a measurement.
func (b *Bucket) took(sent, acked, stored time.Time) {
	b.clock.measured(sent, acked, stored)
	b.mu.Lock()
	b.timed = acked
	b.mu.Unlock()
}
