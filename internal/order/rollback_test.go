package order

import "slices"

// kept is a copy of the bus.
type kept struct {
	entries [2]entry
	bus     []queued
}

// copyStore copies the bus. Messages in flight come again.
func (w *world) copyStore() {
	k := &kept{w.entries, slices.Clone(w.bus)}
	for i := range k.bus {
		k.bus[i].inFlight, k.bus[i].again = 0, false // the server forgets what it delivered
	}
	w.kept = k
}

// putBack restores the copy of the store. Workers and gateway continue. The invariants' counts
// of the gateway stay.
func (w *world) putBack() {
	k := w.kept
	w.kept = nil
	var orphans [2]bool
	for _, m := range w.bus {
		there := slices.ContainsFunc(k.bus, func(o queued) bool { return o.id == m.id })
		orphans[m.order] = orphans[m.order] || !there
	}
	w.bus = k.bus
	for i := range w.entries {
		was := w.entries[i]
		e := k.entries[i]
		e.posts, e.began, e.excuse, e.lost, e.lostTo = was.posts, was.began, true, true, w.ids
		e.orphan = orphans[i]
		w.entries[i] = e
	}
	for i := range w.workers {
		h := &w.workers[i]
		h.since = h.stage != idle
		if h.outer != nil {
			outer := *h.outer
			outer.since, h.outer = true, &outer
		}
	}
}

// startOver ends a handling whose effects may be lost: its message comes again. An answer of
// the gateway is decided again. When the bus has no record, or one of an earlier generation,
// that is under the record that the worker knew.
func (w *world) startOver(i int) bool {
	h := &w.workers[i]
	if h.kind != isAnswered {
		w.release(h.message, 0)
		w.workers[i] = handling{}
		return false
	}
	w.readAgain(i)
	return false
}

// forgotten reports whether the record that a worker read may not be the last one.
func (w *world) forgotten(h *handling) bool {
	e := &w.entries[h.order]
	switch {
	case w.scene.mutant.ignoresLoss:
		return false
	case h.since:
		return true
	case h.cur.Phase == "":
		return e.lost
	case h.cur.Phase == Closed:
		return e.lost && h.message <= e.lostTo
	}
	return e.lost && h.cur.Revision <= e.lostTo
}
