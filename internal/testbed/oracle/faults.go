package oracle

import (
	"sync"
	"time"
)

// Faults is an account of what went wrong on purpose, so that the oracle can tell an
// order that is held for a fault from one that is held for none. Its zero value is a
// run without faults. It is safe for concurrent use.
type Faults struct {
	mu     sync.Mutex
	spans  []span
	spoilt int
}

// span is the time of one fault; to is zero while it lasts.
type span struct{ from, to time.Time }

// Begin notes that a fault begins, and returns what notes its end. A fault without
// duration, such as a kill, ends at once.
func (f *Faults) Begin() (end func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := len(f.spans)
	f.spans = append(f.spans, span{from: time.Now()})
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.spans[i].to = time.Now()
	}
}

// Note notes a fault without duration.
func (f *Faults) Note() { f.Begin()() }

// Spoilt notes that the gateway spoilt n answers to enrollments, at times unknown. Each
// explains one order that is held.
func (f *Faults) Spoilt(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.spoilt += n
}

// during reports whether a fault fell, in part at least, into the time between.
func (f *Faults) during(from, to time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.spans {
		if !s.from.After(to) && (s.to.IsZero() || !s.to.Before(from)) {
			return true
		}
	}
	return false
}

// held is an order that ended as unconfirmed, and the time in which its fate was lost.
type held struct {
	id       string
	from, to time.Time
}

// explain reports the orders that are held and that no fault explains. One that no span
// covers is explained by an answer that the gateway spoilt, while there are any left.
func (f *Faults) explain(r *Report, orders []held) {
	var bare []held
	for _, h := range orders {
		if !f.during(h.from, h.to) {
			bare = append(bare, h)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(bare) <= f.spoilt {
		return
	}
	for _, h := range bare {
		r.find("%s is held, and no fault explains it: %d orders like it, %d answers spoilt", h.id, len(bare), f.spoilt)
	}
}
