package audit

import (
	"sync"
	"time"
)

const (
	// denialsAlone is how many denials of a producer get records of their own in an hour.
	denialsAlone = 60
	denialsHour  = time.Hour
	// denialsOf is how many producers have counts of their own; all others share one
	// count.
	denialsOf = 1000
)

// denials counts the denials of each producer, so that no producer can fill the trail.
// Counts that no record sums up yet are lost with the process, but each denial has a dead
// letter. The zero value is ready to use. It is safe for concurrent use.
type denials struct {
	mu sync.Mutex
	of map[string]*hour
}

// hour is one hour of one producer.
type hour struct {
	since time.Time
	alone int
	sum   *Record // nil if every denial had a record
}

// admit reports whether a denial gets a record of its own.
func (d *denials) admit(r *Record) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.of == nil {
		d.of = map[string]*hour{}
	}
	producer := r.Producer
	h := d.of[producer]
	if h == nil && len(d.of) >= denialsOf {
		producer = ""
		h = d.of[producer]
	}
	if h == nil {
		h = &hour{since: r.Time}
		d.of[producer] = h
	}
	if h.alone < denialsAlone && producer != "" {
		h.alone++
		return true
	}
	if h.sum == nil {
		h.sum = &Record{Decision: DecisionDenied, Producer: producer, Since: r.Time}
	}
	h.sum.Count++
	h.sum.Code, h.sum.Rule, h.sum.Policy = r.Code, r.Rule, r.Policy // of the last denial
	return false
}

// over ends the hours that have passed, and returns their sums.
func (d *denials) over(now time.Time) []*Record {
	return d.end(func(h *hour) bool { return now.Sub(h.since) >= denialsHour })
}

// all ends every hour.
func (d *denials) all() []*Record { return d.end(func(*hour) bool { return true }) }

func (d *denials) end(which func(*hour) bool) (sums []*Record) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for producer, h := range d.of {
		if which(h) {
			if h.sum != nil {
				sums = append(sums, h.sum)
			}
			delete(d.of, producer)
		}
	}
	return sums
}
