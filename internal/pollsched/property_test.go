package pollsched_test

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/entrust-worker/entrust-worker/internal/pollsched"
)

// schedules draws schedules that Validate accepts, from a millisecond to the
// longest duration.
func schedules(t *rapid.T) pollsched.Schedule {
	first := time.Duration(rapid.Int64Range(int64(time.Millisecond), math.MaxInt64).Draw(t, "first"))
	ceil := time.Duration(rapid.Int64Range(int64(first), math.MaxInt64).Draw(t, "max"))
	s := pollsched.Schedule{
		First: first,
		Max:   ceil,
		// Not so close to 1 that rounding breaks "never shrinks".
		Factor: rapid.OneOf(rapid.Just(1.0), rapid.Float64Range(1.001, 1e6)).Draw(t, "factor"),
		Jitter: rapid.Float64Range(0, 0.999).Draw(t, "jitter"),
	}
	if rapid.Bool().Draw(t, "obeys Retry-After") {
		s.RetryAfterMax = time.Duration(rapid.Int64Range(int64(ceil), math.MaxInt64).Draw(t, "retryAfterMax"))
	}
	if err := s.Validate(); err != nil {
		t.Fatalf("drew an invalid schedule %+v: %v", s, err)
	}
	return s
}

func TestJitterStaysInBounds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := pollsched.Default()
		attempt := rapid.IntRange(0, 10000).Draw(t, "attempt")
		spread := rapid.Float64Range(0, 1).Draw(t, "spread")

		at, _ := s.NextAt(attempt, t0, t0.Add(30*day), 0, spread)

		got, curve := at.Sub(t0), s.Wait(attempt)
		if low, high := curve*8/10, curve*12/10; got < low || got > high {
			t.Fatalf("attempt %d, spread %v: waits %v, outside [%v, %v]", attempt, spread, got, low, high)
		}
	})
}

func TestJitterUsesItsWholeRange(t *testing.T) {
	t.Parallel()
	// The surge after an outage: orders with the same attempt and instant. A thousand even
	// spreads must fall equally into each tenth of the range.
	for _, retryAfter := range []time.Duration{0, 10 * time.Minute} {
		var tenths [10]int
		s := pollsched.Default()
		low, width := s.Wait(9)*8/10, s.Wait(9)*4/10
		if retryAfter > 0 {
			low, width = retryAfter, retryAfter*2/10 // mirrored: only above the floor
		}
		for i := range 1000 {
			at, _ := s.NextAt(9, t0, t0.Add(day), retryAfter, (float64(i)+0.5)/1000)
			tenths[min(int(10*(at.Sub(t0)-low)/width), 9)]++
		}
		for i, n := range tenths {
			if n < 90 || n > 110 {
				t.Errorf("Retry-After %v: tenth %d of the range holds %d of 1000, want about 100: %v", retryAfter, i, n, tenths)
			}
		}
	}
}

func TestRetryAfterIsAFloor(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := pollsched.Default()
		attempt := rapid.IntRange(0, 100).Draw(t, "attempt")
		retryAfter := time.Duration(rapid.Int64Range(0, int64(2*s.RetryAfterMax)).Draw(t, "retryAfter"))
		spread := rapid.Float64Range(0, 1).Draw(t, "spread")

		at, _ := s.NextAt(attempt, t0, t0.Add(30*day), retryAfter, spread)

		floor := min(retryAfter, s.RetryAfterMax)
		ceil := max(s.Wait(attempt), floor)*12/10 + 1 // jitter is rounded to the nanosecond
		if got := at.Sub(t0); got < floor || got > ceil {
			t.Fatalf("Retry-After %v: waits %v, outside [%v, %v]", retryAfter, got, floor, ceil)
		}
	})
}

func TestWaitNeverShrinks(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := schedules(t)
		attempt := rapid.IntRange(0, math.MaxInt-1).Draw(t, "attempt")
		here, next := s.Wait(attempt), s.Wait(attempt+1)
		if here < s.First || next < here || next > s.Max {
			t.Fatalf("%+v: Wait(%d) = %v, then %v; want First <= one <= other <= Max", s, attempt, here, next)
		}
	})
}

func TestNextAtProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		checkNextAt(t, schedules(t),
			rapid.Int().Draw(t, "attempt"),
			time.Duration(rapid.Int64().Draw(t, "left")),
			time.Duration(rapid.Int64().Draw(t, "retryAfter")),
			rapid.Float64().Draw(t, "spread"))
	})
}

// fataler is the part of testing.TB and rapid.T that a check needs.
type fataler interface{ Fatalf(string, ...any) }

// checkNextAt checks what holds for every valid schedule and every input.
func checkNextAt(t fataler, s pollsched.Schedule, attempt int, left, retryAfter time.Duration, spread float64) {
	deadline := t0.Add(left)
	at, last := s.NextAt(attempt, t0, deadline, retryAfter, spread)
	again, lastAgain := s.NextAt(attempt, t0, deadline, retryAfter, spread)
	switch {
	case !at.Equal(again) || last != lastAgain:
		t.Fatalf("not a function of its arguments: %v, then %v", at, again)
	case at.After(deadline):
		t.Fatalf("polls at %v, after the deadline %v", at, deadline)
	case last != at.Equal(deadline):
		t.Fatalf("last is %t, but polls at %v with deadline %v", last, at, deadline)
	case left > 0 && at.Before(t0):
		t.Fatalf("polls at %v, before now", at)
	case !last && deadline.Sub(at) < s.First/2:
		t.Fatalf("polls at %v, so close before the deadline %v that it should be the last", at, deadline)
	case !last && at.Sub(t0) < min(retryAfter, s.RetryAfterMax):
		t.Fatalf("polls after %v, below Retry-After %v capped by %v", at.Sub(t0), retryAfter, s.RetryAfterMax)
	case !last && float64(at.Sub(t0)) < float64(s.First)*(1-s.Jitter)-1:
		t.Fatalf("polls after %v, sooner than jitter may make the first wait %v", at.Sub(t0), s.First)
	}
}

func FuzzNextAt(f *testing.F) {
	def := pollsched.Default()
	f.Add(int64(def.First), int64(def.Max), def.Factor, def.Jitter, int64(def.RetryAfterMax), 3, int64(10*time.Minute), int64(0), 0.5)
	f.Add(int64(def.First), int64(def.Max), def.Factor, def.Jitter, int64(def.RetryAfterMax), 0, int64(time.Second), int64(time.Hour), 0.0)
	f.Add(int64(math.MaxInt64), int64(math.MaxInt64), 1e300, 0.999, int64(math.MaxInt64), math.MaxInt, int64(math.MaxInt64), int64(math.MaxInt64), 1.0)
	f.Add(int64(time.Millisecond), int64(time.Millisecond), 1.0, 0.0, int64(0), math.MinInt, int64(math.MinInt64), int64(math.MinInt64), math.Inf(-1))
	f.Fuzz(func(t *testing.T, first, ceil int64, factor, jitter float64, retryAfterMax int64, attempt int, left, retryAfter int64, spread float64) {
		s := pollsched.Schedule{
			First: time.Duration(first), Max: time.Duration(ceil), Factor: factor, Jitter: jitter,
			RetryAfterMax: time.Duration(retryAfterMax),
		}
		if s.Validate() != nil {
			return
		}
		checkNextAt(t, s, attempt, time.Duration(left), time.Duration(retryAfter), spread)
	})
}
