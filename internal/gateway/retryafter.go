package gateway

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// retryFloor keeps a "Retry-After: 0" from becoming a tight loop.
const retryFloor = time.Second

// retryAfter reads the Retry-After header, in seconds or as a date, and limits it to the
// configured bounds. Without a readable header it returns the floor for a 429, else 0.
func (c *Client) retryAfter(h http.Header, status int, now time.Time) time.Duration {
	floor, wait, ok := time.Duration(0), time.Duration(0), false
	if status == http.StatusTooManyRequests {
		floor, ok = c.cfg.ThrottleFloor, true
	}
	// A date is on the gateway's clock. Compared with its own Date header, the difference
	// between the clocks does not matter.
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	if asked, given := parseRetryAfter(h.Get("Retry-After"), now); given {
		wait, floor, ok = asked, max(floor, retryFloor), true
	}
	if !ok {
		return 0
	}
	return min(max(wait, floor), c.cfg.RetryAfterMax)
}

// parseRetryAfter returns the wait in the value, never negative, and whether it could read the
// value.
func parseRetryAfter(value string, now time.Time) (time.Duration, bool) {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0, false
	}
	// ParseInt returns the nearest int64 for a number out of range.
	if seconds, err := strconv.ParseInt(value, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		const most = int64(1<<63-1) / int64(time.Second)
		return time.Duration(min(max(seconds, 0), most)) * time.Second, true
	}
	date, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	return max(date.Sub(now), 0), true
}
