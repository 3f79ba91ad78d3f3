package stats

import (
	"math"
	"slices"
	"time"
)

// Spread collects durations and tells how they lie. Its zero value is empty. It
// is not safe for concurrent use.
type Spread struct {
	all    []time.Duration
	sorted bool
}

// Add adds one duration.
func (s *Spread) Add(d time.Duration) {
	s.all, s.sorted = append(s.all, d), false
}

// Len is how many durations were added.
func (s *Spread) Len() int { return len(s.all) }

// At returns the smallest duration that the share p, 0 to 1, of all does not
// exceed: 0.5 is the median, 1 the largest. It is 0 where there are none.
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
