package oracle

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// Faults is an account of what went wrong on purpose, so that the oracle can tell an
// order that is held for a fault from one that is held for none. Each fault explains as
// many held orders as it can have cost, and no more. Its zero value is a run without
// faults. It is safe for concurrent use.
type Faults struct {
	mu     sync.Mutex
	spans  []*span
	spoilt int
}

// span is the time of one fault; to is zero while it lasts. most is how many orders it
// can have cost.
type span struct {
	from, to time.Time
	most     int
}

// Begin notes that a fault begins that can cost the fates of most orders: those whose
// submissions were under way, and those that followed before a breaker opened, or as
// canaries. It returns what notes the end of the fault. A fault without duration, such
// as a kill, ends at once.
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

// Note notes a fault without duration that can cost the fates of most orders.
func (f *Faults) Note(most int) { f.Begin(most)() }

// Spoilt notes that the gateway spoilt n answers to enrollments, at times unknown. Each
// explains one order that is held.
func (f *Faults) Spoilt(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.spoilt += n
}

// submission is the time in which an order's last submission was under way, or in
// which its fate was lost.
type submission struct {
	id       string
	from, to time.Time
}

// meets reports whether the fault fell, in part at least, into the time of a submission.
func (s *span) meets(h submission) bool {
	return !s.from.After(h.to) && (s.to.IsZero() || !s.to.Before(h.from))
}

// explain reports the orders that are held and that no fault explains. all are the
// submissions of every order. It returns how many of them the faults could have cost at
// most: each fault only those that were under way in its time, and no more than it can
// have cost; and each order only once. An order that no fault is left for is explained by
// an answer that the gateway spoilt, while there are any left.
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

// unmatched gives as many submissions as possible a fault each, and returns the others.
// Caller holds f.mu.
func (f *Faults) unmatched(all []submission) (bare []submission) {
	// Those with the fewest faults to choose from first: less has to be moved.
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b submission) int {
		return cmp.Compare(a.to.Sub(a.from), b.to.Sub(b.from))
	})
	taken := make([][]int, len(f.spans)) // by span: the submissions that it explains
	// place finds a fault for submission i, moving others to other faults where it must.
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
