// Package pollsched decides when to ask the gateway again about an order that
// waits for approval. It is pure arithmetic on an attempt, an instant and a
// random number that the caller draws: it reads no clock, sleeps nowhere and
// keeps no state, so a decision can be taken by any worker and repeated by
// another.
//
// Three layers, each on top of the one before:
//
//  1. an exact curve: 5 s, 15 s, 45 s, 2 m 15 s, then 5 m for ever;
//  2. jitter of ±20 %, so that orders parked in one second do not come back in
//     one second;
//  3. the bounds: Retry-After below, the order's deadline above.
package pollsched

import (
	"math"
	"time"
)

// A Schedule says how long to wait between two polls of one order. The zero
// value asks again at once, which no gateway deserves: start from [Default]
// and check changes with [Schedule.Validate]. Most callers want
// [Schedule.NextAt]. A Schedule is a plain value, safe for concurrent use.
type Schedule struct {
	// First is the wait before the first poll, at least 1 ms. Smaller delivers
	// an approval given at once sooner; larger spares a gateway whose approvals
	// always take people. Default 5 s.
	First time.Duration

	// Max is the longest wait of the curve, at least First. It bounds how long
	// an approved order goes unnoticed; every parked order costs one call per
	// Max. Jitter may exceed it by its own share. Default 5 m.
	Max time.Duration

	// Factor is what each wait is multiplied by to give the next, at least 1
	// (1 is a constant wait). Default 3.
	Factor float64

	// Jitter is the largest share of a wait that is added or taken away, in
	// [0, 1). 0 polls orders that were parked together together. Default 0.2.
	Jitter float64

	// RetryAfterMax is the longest Retry-After that is obeyed; a longer one is
	// cut to it, so that one wrong header cannot put an order to sleep until
	// its deadline. 0 ignores Retry-After, otherwise at least Max. Default 15 m.
	RetryAfterMax time.Duration
}

// Default returns the schedule of the design: 5 s, tripled up to 5 m, ±20 %.
func Default() Schedule {
	return Schedule{
		First:         5 * time.Second,
		Max:           5 * time.Minute,
		Factor:        3,
		Jitter:        0.2,
		RetryAfterMax: 15 * time.Minute,
	}
}

// Wait returns the exact curve: First·Factor^attempt, at most Max. Attempt
// counts the polls made so far: 0 is the wait before the first one, and
// anything below is taken as 0. No attempt overflows.
func (s Schedule) Wait(attempt int) time.Duration {
	// Pow reaches +Inf where an integer would wrap, and Inf is not below Max.
	d := float64(s.First) * math.Pow(s.Factor, float64(max(attempt, 0)))
	if !(d < float64(s.Max)) { // negated so that a NaN takes the ceiling too
		return s.Max
	}
	// A float64 holds nanoseconds exactly up to 104 days; beyond, it may round
	// even First down.
	return max(time.Duration(math.Round(d)), s.First)
}

// PollsIn returns how many polls the exact curve makes in a time.
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

// NextAt returns when to poll next, given the polls made so far and the
// Retry-After of the last answer (0: none). The spread is a number in [0, 1)
// that the caller draws; 0.5 means no jitter, and one outside is taken as the
// nearer end.
//
// Retry-After, cut to RetryAfterMax, is a floor: jitter never goes below it.
//
// At is never after the deadline. A poll that would come after it, or less
// than First/2 before it, is moved onto it: two polls in so short a time tell
// one answer. Last reports that at is the deadline, and so that this poll is
// the order's last one. A deadline that has passed (the zero time too) is
// returned as it is: due at once, and last.
func (s Schedule) NextAt(attempt int, now, deadline time.Time, retryAfter time.Duration, spread float64) (at time.Time, last bool) {
	// Sub saturates, so a deadline in a thousand years is merely far away.
	left := deadline.Sub(now)
	wait := s.jittered(s.Wait(attempt), s.floor(retryAfter), spread)
	if left <= 0 || wait > left-s.First/2 {
		return deadline, true
	}
	return now.Add(wait), false
}

// floor returns the part of a Retry-After that is obeyed, never negative.
func (s Schedule) floor(retryAfter time.Duration) time.Duration {
	return min(max(retryAfter, 0), s.RetryAfterMax)
}

// jittered spreads a wait by ±Jitter without going below floor. What would
// fall below is mirrored above it instead of cut: a gateway that tells
// thousands of orders the same Retry-After must not see them return in the
// same instant.
func (s Schedule) jittered(wait, floor time.Duration, spread float64) time.Duration {
	if math.IsNaN(spread) {
		spread = 0.5
	}
	spread = min(max(spread, 0), 1)
	wait = max(wait, floor)
	off := clamp(float64(wait) * s.Jitter * (2*spread - 1))
	// The room above and below floor is compared before anything is added, so
	// that neither sum can wrap.
	if room := wait - floor; off < -room {
		return add(floor, -off-room)
	}
	return add(wait, off)
}

// add returns a + b for a ≥ 0, clamped at the longest duration.
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
