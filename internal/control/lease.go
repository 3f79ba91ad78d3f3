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

// ErrLeaseLost says that another worker acquired the lease, or that this worker could not
// renew it before it ended.
var ErrLeaseLost = errors.New("the lease was lost")

// leaseRecord is the value of a lease's key.
type leaseRecord struct {
	Worker string   `json:"worker"`
	TTL    duration `json:"ttl"`
}

// Lease is a right that one worker of the fleet has at a time. It starts when the server
// stores it. For another worker it ends when its age exceeds its ttl, by server time or
// since that worker saw it first. If the server's clock is set, two workers may have the
// lease for a moment: the work that it guards must tolerate this. Safe for concurrent
// use.
type Lease struct {
	b    *Bucket
	key  string
	what string
}

// WatchdogLease is the lease of the one worker that scans for orders that nothing will
// wake.
func (b *Bucket) WatchdogLease() *Lease {
	return &Lease{b: b, key: leasePrefix + "watchdog", what: "the watchdog lease"}
}

// FeedLease is the lease of the one worker that reads the gateway's certificate events.
func (b *Bucket) FeedLease() *Lease {
	return &Lease{b: b, key: leasePrefix + "feed", what: "the feed lease"}
}

// left returns the owner of a lease value and the time left.
func (l *Lease) left(last entry) (worker string, left time.Duration) {
	var r leaseRecord
	if last.data == nil || json.Unmarshal(last.data, &r) != nil {
		return "", 0
	}
	return r.Worker, max(0, min(time.Duration(r.TTL), MaxLease)-last.age)
}

// Acquire acquires the lease for ttl. If another worker has it, Acquire returns how long
// that worker's lease still lasts. A worker may acquire its own lease again.
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

// Renew extends a lease that this worker acquired to ttl from now. It returns
// ErrLeaseLost if another worker has acquired it since, even if that worker's lease has
// ended.
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

// Keep renews the lease each quarter of ttl until ctx ends. If the lease is lost, Keep
// calls lost with ErrLeaseLost as the cause and returns. It counts time on this worker's
// clock, from before each write.
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
			lost(fmt.Errorf("renewing %s: %w before it ended: %w", l.what, ErrLeaseLost, err))
			return
		}
	}
}

// Release ends a lease that this worker has, so that the next worker need not wait. It
// leaves another worker's lease alone.
func (l *Lease) Release(ctx context.Context) error {
	_, err := l.b.update(ctx, l.what, l.key, 0, func(last entry) any {
		if worker, left := l.left(last); worker != l.b.worker || left == 0 {
			return nil
		}
		return leaseRecord{l.b.worker, 0}
	})
	return err
}
