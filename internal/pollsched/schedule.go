// Package pollsched decides when a worker polls the gateway again about an order that waits for
// approval. It is pure arithmetic on an attempt, an instant and a random number that the caller
// draws. It reads no clock, never sleeps and keeps no state. So any worker can make a decision,
// and another can repeat it.
//
// The schedule has three layers:
//
//  1. an exact curve: 5 s, 15 s, 45 s, 2 m 15 s, then 5 m for ever
//  2. jitter of ±20 %, so that orders parked in one second do not return in one second
//  3. bounds: Retry-After is the lower bound, the order's deadline the upper
package pollsched

import (
	"math"
	"time"
)

// A Schedule says how long to wait between two polls of one order. The zero value polls without
// a wait and floods the gateway: start from [Default], and check changes with
// [Schedule.Validate]. Most callers need [Schedule.NextAt]. A Schedule is a plain value, safe
// for concurrent use.
type Schedule struct {
	// First is the wait before the first poll, at least 1 ms. A smaller value delivers an
	// immediate approval sooner. A larger value saves calls where people approve every order.
	// Default 5 s.
	First time.Duration

	// Max is the longest wait of the curve, at least First. It bounds how long an approved
	// order goes unnoticed. Every parked order costs one call per Max. Jitter may exceed Max by
	// its own share. Default 5 m.
	Max time.Duration

	// Factor multiplies each wait to give the next one. At least 1; 1 is a constant wait.
	// Default 3.
	Factor float64

	// Jitter is the largest share of a wait that is added or subtracted, in [0, 1). With 0,
	// orders that were parked together are polled together. Default 0.2.
	Jitter float64

	// RetryAfterMax is the longest Retry-After that is obeyed. A longer one is cut to it: one
	// wrong header must not delay an order until its deadline. 0 ignores Retry-After; any other
	// value is at least Max. Default 15 m.
	RetryAfterMax time.Duration
}

// Default returns the default schedule: 5 s, tripled up to 5 m, ±20 %.
func Default() Schedule {
	return Schedule{
		First:         5 * time.Second,
		Max:           5 * time.Minute,
		Factor:        3,
		Jitter:        0.2,
		RetryAfterMax: 15 * time.Minute,
	}
}

// Wait returns the exact curve: First·Factor^attempt, at most Max. Attempt counts the polls
// made so far; 0 is the wait before the first poll. A negative attempt counts as 0. No attempt
// overflows.
func (s Schedule) Wait(attempt int) time.Duration {
	// Where an integer would wrap, Pow returns +Inf, which is not below Max.
	d := float64(s.First) * math.Pow(s.Factor, float64(max(attempt, 0)))
	if !(d < float64(s.Max)) { // negated, so that NaN returns Max too
		return s.Max
	}
	// A float64 holds nanoseconds exactly up to 104 days. Above that it may round even First
	// down.
	return max(time.Duration(math.Round(d)), s.First)
}

// PollsIn returns how many polls the exact curve makes in that time.
func (s Schedule) PollsIn(age time.Duration) int {
	n := 0
	for age > 0 && s.First > 0 {
		wait := s.Wait(n)
		if wait >= s.Max {
			return n + int(age/wait)
		}
		if age -= wait; age >= 0 {
			n++
		}
	}
	return n
}

// NextAt returns when to poll next, given the polls made so far and the Retry-After of the last
// answer (0: none). The caller draws spread from [0, 1). 0.5 means no jitter; a value outside
// the range counts as the nearer end.
//
// Retry-After, cut to RetryAfterMax, is a lower bound: jitter never goes below it.
//
// The returned time is never after the deadline. A poll that would come after the deadline, or
// less than First/2 before it, moves to the deadline. Two polls that close get the same answer.
// Last reports that the time is the deadline, so that this poll is the last one. A deadline
// that has passed (the zero time too) is returned unchanged: due at once, and last.
func (s Schedule) NextAt(attempt int, now, deadline time.Time, retryAfter time.Duration, spread float64) (at time.Time, last bool) {
	// Sub saturates, so a deadline in a thousand years causes no overflow.
	left := deadline.Sub(now)
	wait := s.jittered(s.Wait(attempt), s.floor(retryAfter), spread)
	if left <= 0 || wait > left-s.First/2 {
		return deadline, true
	}
	return now.Add(wait), false
}

// floor returns the Retry-After that is obeyed, never negative.
func (s Schedule) floor(retryAfter time.Duration) time.Duration {
	return min(max(retryAfter, 0), s.RetryAfterMax)
}

// jittered spreads a wait by ±Jitter without going below floor. It mirrors a value below the
// floor to above it instead of cutting it. Otherwise thousands of orders with the same
// Retry-After would return in the same instant.
func (s Schedule) jittered(wait, floor time.Duration, spread float64) time.Duration {
	if math.IsNaN(spread) {
		spread = 0.5
	}
	spread = min(max(spread, 0), 1)
	wait = max(wait, floor)
	off := clamp(float64(wait) * s.Jitter * (2*spread - 1))
	// Compare before adding, so that neither sum can overflow.
	if room := wait - floor; off < -room {
		return add(floor, -off-room)
	}
	return add(wait, off)
}

// add returns a + b for a ≥ 0, limited to the longest duration.
func add(a, b time.Duration) time.Duration {
	if b > math.MaxInt64-a {
		return math.MaxInt64
	}
	return a + b
}

// clamp rounds nanoseconds to a duration that can be negated.
func clamp(ns float64) time.Duration {
	switch {
	case ns >= math.MaxInt64:
		return math.MaxInt64
	case ns <= -math.MaxInt64:
		return -math.MaxInt64
	}
	return time.Duration(math.Round(ns))
}
