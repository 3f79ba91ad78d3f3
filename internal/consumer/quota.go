package consumer

import (
	"sync"
	"time"
)

// maxDeferred is the most orders of one producer that may wait for their turn, over all
// workers.
const maxDeferred = 10_000

// quota spreads the issue requests of each producer over time. Each worker admits its share:
// the producer's requests a minute, divided by the number of workers. A burst of one minute's
// requests passes at once. The reservations of a worker end with it; those orders still wait
// for their wake-up. Make one with newQuota. It is safe for concurrent use.
type quota struct {
	mu      sync.Mutex
	workers int
	// booked is the end of the reserved turns, by producer. Each turn takes one interval.
	booked map[string]time.Time
}

func newQuota() *quota { return &quota{workers: 1, booked: map[string]time.Time{}} }

// setWorkers sets how many workers share the bound of each producer.
func (q *quota) setWorkers(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.workers = max(n, 1)
}

// reserve books the next turn of a producer and returns how long the order waits for it; 0
// means at once. When too many orders wait already, it books nothing and ok is false.
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

// release returns an unused turn.
func (q *quota) release(producer string, perMinute int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.booked[producer] = q.booked[producer].Add(-q.interval(perMinute))
}

// interval is the time between two turns of a producer. The caller holds q.mu.
func (q *quota) interval(perMinute int) time.Duration {
	return time.Minute * time.Duration(q.workers) / time.Duration(perMinute)
}
