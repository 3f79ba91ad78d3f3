package stats

import (
	"math"
	"slices"
	"time"
)

// Spread is a distribution of durations. The zero value is empty. It is not safe for
// concurrent use.
type Spread struct {
	all    []time.Duration
	sorted bool
}

// Add adds one duration.
func (s *Spread) Add(d time.Duration) {
	s.all, s.sorted = append(s.all, d), false
}

// Len returns the number of durations.
func (s *Spread) Len() int { return len(s.all) }

// At returns the p-quantile, 0 to 1, the smallest duration that a share p of all
// durations does not exceed: 0.5 is the median, 1 the maximum. It is 0 for an empty
// Spread.
func (s *Spread) At(p float64) time.Duration {
	if len(s.all) == 0 {
		return 0
	}
	if !s.sorted {
		slices.Sort(s.all)
		s.sorted = true
	}
	rank := int(math.Ceil(p * float64(len(s.all))))
	return s.all[min(max(rank, 1), len(s.all))-1]
}
