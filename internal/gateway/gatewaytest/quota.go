package gatewaytest

import (
	"sync"
	"time"
)

// quotaWindow is the window in which requests are counted, and the further time for which a
// client beyond the quota gets 429 (as the hosted gateway's pages say).
const quotaWindow = 10 * time.Second

// quota counts requests per window, enrollments separately from the rest. Safe for
// concurrent use.
type quota struct {
	limit int // 0: no quota

	mu      sync.Mutex
	start   time.Time
	enrolls int
	others  int
	blocked time.Time // every request is refused until then
}

// admit counts a request and reports whether it is within the quota.
func (q *quota) admit(op Op, now time.Time) bool {
	if q.limit <= 0 {
		return true
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if now.Before(q.blocked) {
		return false
	}
	if now.Sub(q.start) >= quotaWindow {
		q.start, q.enrolls, q.others = now, 0, 0
	}
	n := &q.others
	if op == OpEnroll {
		n = &q.enrolls
	}
	*n++
	if *n > q.limit {
		q.blocked = q.start.Add(2 * quotaWindow)
		return false
	}
	return true
}
