package pollsched_test

import (
	"math"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/pollsched"
)

const (
	day   = 24 * time.Hour
	plain = 0.5 // the spread that leaves the curve unchanged
)

var t0 = time.Date(2026, 3, 29, 0, 59, 0, 0, time.UTC)

func TestWait(t *testing.T) {
	t.Parallel()
	def := pollsched.Default()
	constant := pollsched.Schedule{First: time.Minute, Max: time.Minute, Factor: 1}
	gentle := pollsched.Schedule{First: time.Second, Max: time.Hour, Factor: 1.5}
	endless := pollsched.Schedule{First: time.Second, Max: math.MaxInt64, Factor: 10}

	for _, tc := range []struct {
		name    string
		s       pollsched.Schedule
		attempt int
		want    time.Duration
	}{
		{"default", def, 0, 5 * time.Second},
		{"default", def, 1, 15 * time.Second},
		{"default", def, 2, 45 * time.Second},
		{"default", def, 3, 2*time.Minute + 15*time.Second},
		{"default", def, 4, 5 * time.Minute}, // 6m45s, cut to Max
		{"default", def, 5, 5 * time.Minute},
		{"default", def, 8640, 5 * time.Minute},          // 30 days of polls
		{"default", def, math.MaxInt, 5 * time.Minute},   // 3^attempt is +Inf
		{"default", def, -1, 5 * time.Second},            // a counter that was never set
		{"default", def, math.MinInt, 5 * time.Second},   //
		{"constant", constant, 0, time.Minute},           // First may equal Max
		{"constant", constant, math.MaxInt, time.Minute}, // and 1^n costs no loop
		{"gentle", gentle, 1, 1500 * time.Millisecond},
		{"gentle", gentle, 3, 3375 * time.Millisecond},                                                 // fractions are exact to the nanosecond
		{"endless", pollsched.Schedule{First: 1<<62 + 1, Max: math.MaxInt64, Factor: 1}, 0, 1<<62 + 1}, // no float64
		{"endless", endless, 9, 1e9 * time.Second},
		{"endless", endless, 10, math.MaxInt64}, // 1e19 ns do not fit: clamped, not wrapped
	} {
		if got := tc.s.Wait(tc.attempt); got != tc.want {
			t.Errorf("%s: Wait(%d) = %v, want %v", tc.name, tc.attempt, got, tc.want)
		}
	}
}

// TestTimeline follows whole lives of orders. Each row is the polls of one order, as offsets
// from its submission, up to and including the last one.
func TestTimeline(t *testing.T) {
	t.Parallel()
	const s, m, h = time.Second, time.Minute, time.Hour
	for _, tc := range []struct {
		name     string
		deadline time.Duration
		spread   float64
		want     []time.Duration // the last one is the deadline
	}{
		{"the default deadline", 10 * m, plain, []time.Duration{5 * s, 20 * s, 65 * s, 200 * s, 500 * s, 600 * s}},
		{"half an hour", 30 * m, plain, []time.Duration{5 * s, 20 * s, 65 * s, 200 * s, 500 * s, 800 * s, 1100 * s, 1400 * s, 1700 * s, 1800 * s}},
		{"always early", 10 * m, 0, []time.Duration{4 * s, 16 * s, 52 * s, 160 * s, 400 * s, 600 * s}},
		{"always late", 10 * m, 1, []time.Duration{6 * s, 24 * s, 78 * s, 240 * s, 600 * s}},
		{"shorter than the first wait", 3 * s, plain, []time.Duration{3 * s}},
		{"the first wait exactly", 5 * s, plain, []time.Duration{5 * s}},
		{"a second poll would follow at once", 7 * s, plain, []time.Duration{7 * s}},                                     // 2s apart: one poll
		{"half a first wait is enough", 7500 * time.Millisecond, plain, []time.Duration{5 * s, 7500 * time.Millisecond}}, // 2.5s apart: two
		{"a curve wait just before the deadline", 67 * s, plain, []time.Duration{5 * s, 20 * s, 67 * s}},
		{"already over", 0, plain, []time.Duration{0}},
		{"over for an hour", -h, plain, []time.Duration{-h}}, // the worker was down at the deadline: due at once
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			sched, deadline := pollsched.Default(), t0.Add(tc.deadline)
			now, last := t0, false
			var got []time.Duration
			for attempt := 0; !last && attempt < 100; attempt++ {
				now, last = sched.NextAt(attempt, now, deadline, 0, tc.spread)
				got = append(got, now.Sub(t0))
			}
			if len(got) != len(tc.want) {
				t.Fatalf("polls at %v, want %v", got, tc.want)
			}
			for i := range got {
				if got[i] != tc.want[i] {
					t.Errorf("poll %d at %v, want %v", i, got[i], tc.want[i])
				}
			}
		})
	}
}

func TestNextAt(t *testing.T) {
	t.Parallel()
	const s, m = time.Second, time.Minute
	for _, tc := range []struct {
		name       string
		attempt    int
		deadline   time.Duration
		retryAfter time.Duration
		spread     float64
		want       time.Duration
		last       bool
	}{
		{"no Retry-After", 0, day, 0, plain, 5 * s, false},
		{"below the curve changes nothing", 4, day, 30 * s, plain, 5 * m, false},
		{"above the curve is a floor", 0, day, 30 * s, plain, 30 * s, false},
		{"early jitter is mirrored above the floor", 0, day, 30 * s, 0, 36 * s, false},
		{"late jitter goes above it anyway", 0, day, 30 * s, 1, 36 * s, false},
		{"early jitter stops at a floor below the curve", 2, day, 40 * s, 0, 44 * s, false}, // 36s, mirrored at 40s
		{"capped", 0, day, 10 * time.Hour, plain, 15 * m, false},
		{"capped at the largest header", 0, day, math.MaxInt64, plain, 15 * m, false},
		{"negative is none", 0, day, -time.Hour, plain, 5 * s, false},
		{"never past the deadline", 0, m, 5 * m, plain, m, true},
		{"late jitter would pass the deadline", 4, 5*m + 30*s, 0, 1, 5*m + 30*s, true},
		{"exactly the deadline", 4, 5 * m, 0, plain, 5 * m, true},
		{"just outside the gap", 4, 5*m + 2500*time.Millisecond, 0, plain, 5 * m, false},
		{"just inside the gap", 4, 5*m + 2499*time.Millisecond, 0, plain, 5*m + 2499*time.Millisecond, true},
		{"a spread below 0 is 0", 0, day, 0, -7, 4 * s, false},
		{"a spread above 1 is 1", 0, day, 0, 7, 6 * s, false},
		{"a spread that is no number is none", 0, day, 0, math.NaN(), 5 * s, false},
		{"a deadline 292 years away", 0, math.MaxInt64, 0, plain, 5 * s, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			at, last := pollsched.Default().NextAt(tc.attempt, t0, t0.Add(tc.deadline), tc.retryAfter, tc.spread)
			if got := at.Sub(t0); got != tc.want || last != tc.last {
				t.Errorf("NextAt = %v, last %t; want %v, last %t", got, last, tc.want, tc.last)
			}
		})
	}
}

func TestNextAtFarApart(t *testing.T) {
	t.Parallel()
	endless := pollsched.Schedule{First: math.MaxInt64, Max: math.MaxInt64, Factor: 2, Jitter: 0.9, RetryAfterMax: math.MaxInt64}
	for _, tc := range []struct {
		name          string
		s             pollsched.Schedule
		now, deadline time.Time
		retryAfter    time.Duration
		want          time.Time
		last          bool
	}{
		{"the zero deadline has passed", pollsched.Default(), t0, time.Time{}, 0, time.Time{}, true},
		{"from the zero instant", pollsched.Default(), time.Time{}, t0, 0, time.Time{}.Add(5 * time.Second), false},
		{"the longest wait, mirrored and late", endless, t0, t0.Add(day), math.MaxInt64, t0.Add(day), true},
	} {
		for _, spread := range []float64{0, plain, 1} {
			if tc.s.Jitter < 0.9 && spread != plain {
				continue // only the clamped case checks the ends
			}
			at, last := tc.s.NextAt(0, tc.now, tc.deadline, tc.retryAfter, spread)
			if !at.Equal(tc.want) || last != tc.last {
				t.Errorf("%s, spread %v: NextAt = %v, last %t; want %v, last %t", tc.name, spread, at, last, tc.want, tc.last)
			}
		}
	}
}
