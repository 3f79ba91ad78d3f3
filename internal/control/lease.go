package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

const (
	leasePrefix = "lease."
	// MaxLease caps the time for which a lease of another worker is respected.
	MaxLease = 24 * time.Hour
)

// ErrLeaseLost says that another worker acquired the lease, or that it could not be
// renewed before it was over.
var ErrLeaseLost = errors.New("the lease was lost")

// leaseRecord is the value of a lease's key.
type leaseRecord struct {
	Worker string   `json:"worker"`
	TTL    duration `json:"ttl"`
}

// Lease is what one worker of the fleet has at a time. It counts from when the server
// stored it, and is over for another worker when its age exceeds it, by server time
// or since that worker saw it first. Two workers may have it for a moment where the
// server's clock is set: what it guards must bear that. Safe for concurrent use.
type Lease struct {
	b    *Bucket
	key  string
	what string
}

// WatchdogLease is the lease of the one worker that scans for orders that nothing
// will wake.
func (b *Bucket) WatchdogLease() *Lease {
	return &Lease{b: b, key: leasePrefix + "watchdog", what: "the watchdog lease"}
}

// FeedLease is the lease of the one worker that reads the gateway's certificate events.
func (b *Bucket) FeedLease() *Lease {
	return &Lease{b: b, key: leasePrefix + "feed", what: "the lease of the feed"}
}

// left returns whose lease a value is, and for how long.
func (l *Lease) left(last entry) (worker string, left time.Duration) {
	var r leaseRecord
	if last.data == nil || json.Unmarshal(last.data, &r) != nil {
		return "", 0
	}
	return r.Worker, max(0, min(time.Duration(r.TTL), MaxLease)-last.age)
}

// Acquire makes the lease this worker's for ttl, or returns for how long it is
// another worker's. A lease that this worker has is acquired again.
func (l *Lease) Acquire(ctx context.Context, ttl time.Duration) (acquired bool, wait time.Duration, err error) {
	_, err = l.b.update(ctx, l.what, l.key, 0, func(last entry) any {
		worker, left := l.left(last)
		if acquired, wait = worker == l.b.worker || left == 0, 0; !acquired {
			wait = left
			return nil
		}
		return leaseRecord{l.b.worker, duration(ttl)}
	})
	return acquired && err == nil, wait, err
}

// Renew makes a lease that this worker acquired last for ttl from now on. It returns
// ErrLeaseLost where another worker has acquired it since, even if that one's is over.
func (l *Lease) Renew(ctx context.Context, ttl time.Duration) error {
	lost := false
	_, err := l.b.update(ctx, l.what, l.key, 0, func(last entry) any {
		worker, _ := l.left(last)
		if lost = worker != "" && worker != l.b.worker; lost {
			return nil
		}
		return leaseRecord{l.b.worker, duration(ttl)}
	})
	if err == nil && lost {
		return fmt.Errorf("renewing %s: %w", l.what, ErrLeaseLost)
	}
	return err
}

// Keep renews the lease each quarter of ttl until ctx ends. Where the lease is lost it
// calls lost with ErrLeaseLost as the cause, and returns. Time counts on this worker's
// own clock, from before each write.
func (l *Lease) Keep(ctx context.Context, ttl time.Duration, lost context.CancelCauseFunc) {
	for end := time.Now().Add(ttl); sleep(ctx, ttl/4) == nil; {
		asked := time.Now()
		try, cancel := context.WithDeadline(ctx, end)
		err := l.Renew(try, ttl)
		cancel()
		switch {
		case err == nil:
			end = asked.Add(ttl)
		case errors.Is(err, ErrLeaseLost):
			lost(err)
			return
		case ctx.Err() == nil && !time.Now().Before(end):
			lost(fmt.Errorf("renewing %s: %w before it was over: %w", l.what, ErrLeaseLost, err))
			return
		}
	}
}

// Release ends a lease that this worker has, so that the next worker need not wait. It
// leaves another worker's alone.
func (l *Lease) Release(ctx context.Context) error {
	_, err := l.b.update(ctx, l.what, l.key, 0, func(last entry) any {
		if worker, left := l.left(last); worker != l.b.worker || left == 0 {
			return nil
		}
		return leaseRecord{l.b.worker, 0}
	})
	return err
}
