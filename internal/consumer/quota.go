package consumer

import (
	"sync"
	"time"
)

// maxDeferred is how many orders of one producer may wait for their turn, over all workers.
const maxDeferred = 10_000

// quota spreads the issue requests of each producer over time. Each worker admits its
// share: what a producer may ask for in a minute, divided by the workers there are. A
// minute's worth passes at once. What a worker reserved is forgotten when it ends; those
// orders wait for their wake-up all the same. Make one with newQuota. Safe for concurrent
// use.
type quota struct {
	mu      sync.Mutex
	workers int
	// booked is until when the requests of a producer are spread, one interval for each.
	booked map[string]time.Time
}

func newQuota() *quota { return &quota{workers: 1, booked: map[string]time.Time{}} }

// setWorkers says how many workers share what a producer may ask for.
func (q *quota) setWorkers(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.workers = max(n, 1)
}

// reserve books the next turn of a producer and returns how long it has to wait for it, 0
// where it begins at once. ok is false where too many wait already; nothing is booked then.
func (q *quota) reserve(producer string, perMinute int, now time.Time) (after time.Duration, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	interval := q.interval(perMinute)
	booked := q.booked[producer]
	if booked.Before(now) {
		booked = now
	}
	after = max(booked.Sub(now)+interval-max(time.Minute, interval), 0)
	if after > interval*time.Duration(maxDeferred/q.workers) {
		return 0, false
	}
	q.booked[producer] = booked.Add(interval)
	return after, true
}

// release gives a turn back that was not used.
func (q *quota) release(producer string, perMinute int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.booked[producer] = q.booked[producer].Add(-q.interval(perMinute))
}

// interval is the time between two turns of a producer. Caller holds q.mu.
func (q *quota) interval(perMinute int) time.Duration {
	return time.Minute * time.Duration(q.workers) / time.Duration(perMinute)
}
