package oracle

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// Faults records the faults that a run injects, so that the oracle can tell whether a
// fault explains a held order. Each fault explains at most as many held orders as it can
// have caused. The zero value is a run without faults. It is safe for concurrent use.
type Faults struct {
	mu     sync.Mutex
	spans  []*span
	spoilt int
}

// span is the duration of one fault; to is zero while it lasts. most is how many held
// orders it can cause.
type span struct {
	from, to time.Time
	most     int
}

// Begin records the start of a fault that can leave up to most orders indeterminate:
// orders whose submissions were in flight, and orders submitted after it before a breaker
// opened, or as canaries. The returned function records the end of the fault. A fault
// without duration, such as a kill, ends at once.
func (f *Faults) Begin(most int) (end func()) {
	s := &span{from: time.Now(), most: most}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.spans = append(f.spans, s)
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		s.to = time.Now()
	}
}

// Note records a fault without duration that can leave up to most orders indeterminate.
func (f *Faults) Note(most int) { f.Begin(most)() }

// Spoilt records that the gateway spoilt n answers to enrollments, at unknown times. Each
// explains one held order.
func (f *Faults) Spoilt(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.spoilt += n
}

// submission is the time in which an order's last submission was in flight, or in which
// its answer was lost.
type submission struct {
	id       string
	from, to time.Time
}

// meets reports whether the fault and the submission overlap in time.
func (s *span) meets(h submission) bool {
	return !s.from.After(h.to) && (s.to.IsZero() || !s.to.Before(h.from))
}

// explain reports held orders that no fault explains. all are the submissions of every
// order. explain returns how many orders the faults could have caused to be held at most.
// A fault explains only submissions that were in flight during it, at most its own
// number, and each order only once. Spoilt answers explain orders for which no fault is
// left.
func (f *Faults) explain(r *Report, held, all []submission) (most int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	bare := f.unmatched(all)
	most = len(all) - len(bare) + min(len(bare), f.spoilt)
	if bare = f.unmatched(held); len(bare) <= f.spoilt {
		return most
	}
	for _, h := range bare {
		r.find("%s is held, and no fault explains it: %d orders like it, %d answers spoilt", h.id, len(bare), f.spoilt)
	}
	return most
}

// unmatched assigns a fault to as many submissions as possible, and returns the others.
// Caller holds f.mu.
func (f *Faults) unmatched(all []submission) (bare []submission) {
	// Shortest submissions first: they overlap with the fewest faults, so fewer
	// assignments have to move.
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b submission) int {
		return cmp.Compare(a.to.Sub(a.from), b.to.Sub(b.from))
	})
	taken := make([][]int, len(f.spans)) // for each span: the submissions that it explains
	// place assigns a fault to submission i, and moves other submissions to other faults
	// if necessary.
	var place func(i int, tried []bool) bool
	place = func(i int, tried []bool) bool {
		for s, sp := range f.spans {
			if tried[s] || sp.most == 0 || !sp.meets(all[i]) {
				continue
			}
			tried[s] = true
			if len(taken[s]) < sp.most {
				taken[s] = append(taken[s], i)
				return true
			}
			for k, other := range taken[s] {
				if place(other, tried) {
					taken[s][k] = i
					return true
				}
			}
		}
		return false
	}
	for i, h := range all {
		if !place(i, make([]bool, len(f.spans))) {
			bare = append(bare, h)
		}
	}
	return bare
}
