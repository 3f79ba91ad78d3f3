package order

import (
	"fmt"
	"slices"
	"strings"
)

// search visits every state that a scene can reach within a number of events and faults. An
// event is a delivery or an answer. The effects between them, the clock, and wake-ups that fire
// are free. It stops at the first broken invariant.
type search struct {
	scene          *scene
	events, faults int

	visited     map[fingerprintOf]int8 // faults left, plus one
	ending      map[fingerprintOf]bool // states whose fair run succeeds
	transitions int
	spare       []*world // for reuse
	broken      string
	trace       []string
}

// trail is the path to a state.
type trail struct {
	up     *trail
	worker int // -1 for none
	name   string
}

func (t *trail) steps() (all []string) {
	for ; t != nil; t = t.up {
		name := t.name
		if t.worker >= 0 {
			name = string(rune('a'+t.worker)) + ": " + name
		}
		all = append(all, name)
	}
	slices.Reverse(all)
	return all
}

type reached struct {
	*world
	trail *trail
}

// run searches, and reports whether every invariant held.
func (s *search) run() bool {
	s.visited, s.ending = map[fingerprintOf]int8{}, map[fingerprintOf]bool{}
	first := s.scene.world(s.faults)
	layer := []reached{{world: &first}}
	for left := s.events; len(layer) > 0; left-- {
		var later []reached
		for len(layer) > 0 {
			at := layer[len(layer)-1]
			layer = layer[:len(layer)-1]
			if !s.enter(at, left) {
				s.spare = append(s.spare, at.world)
				continue
			}
			if s.broken != "" {
				s.trace = at.trail.steps()
				return false
			}
			at.successors(func(worker int, name string, event bool, apply func(*world)) {
				s.transitions++
				if event && left == 0 {
					return
				}
				r := reached{s.copy(at.world), &trail{at.trail, worker, name}}
				apply(r.world)
				if event {
					later = append(later, r)
				} else {
					layer = append(layer, r)
				}
			})
			s.spare = append(s.spare, at.world)
		}
		layer = later
	}
	return true
}

// copy returns a copy of a state, in a spare one if possible.
func (s *search) copy(of *world) *world {
	var next *world
	if n := len(s.spare); n > 0 {
		next, s.spare = s.spare[n-1], s.spare[:n-1]
	} else {
		next = new(world)
	}
	*next = *of
	return next
}

// enter checks a new state, and reports whether the state is new. The fair run takes steps that
// the search takes too, within its events: it starts where they end.
func (s *search) enter(at reached, left int) bool {
	print := at.fingerprint()
	if s.visited[print] > int8(at.faults) {
		return false
	}
	s.visited[print] = int8(at.faults) + 1
	at.check()
	s.broken = at.broken
	if s.broken == "" && at.endsHere(left) {
		s.endFairly(at.world)
	}
	return true
}

// endsHere reports whether the next step of a fair run is outside of the search.
func (w *world) endsHere(left int) bool {
	for i := range w.workers {
		if h := &w.workers[i]; h.stage != idle {
			return left == 0 && h.stage == answering && h.kind != isTargeted
		}
	}
	if slices.ContainsFunc(w.bus, func(m queued) bool { return !m.after.After(w.now) }) {
		return left == 0
	}
	due := func(e entry) bool { return e.wakeup != nil && !e.wakeup.Due.After(w.now) }
	return !slices.ContainsFunc(w.entries[:], due) && w.soon().IsZero()
}

// maxFair bounds the steps of a fair run.
const maxFair = 1000

// endFairly runs the world without faults, with a gateway that answers definitely, until
// nothing more happens. It stores states in which both workers are idle.
func (s *search) endFairly(at *world) {
	w := *at
	var passed []fingerprintOf
	for n := 0; ; n++ {
		if w.idle() {
			print := w.fingerprint()
			if s.ending[print] {
				break
			}
			passed = append(passed, print)
		}
		if n == maxFair {
			w.fail("liveness: %d steps, and the order is still %s", n, w.stored(watched).Phase)
		}
		if !w.fairStep() {
			w.checkEnded()
			break
		}
		if w.check(); w.broken != "" {
			break
		}
	}
	if w.broken != "" {
		s.broken = w.broken + " (in a fair run)"
		return
	}
	for _, print := range passed {
		s.ending[print] = true
	}
}

func (w *world) idle() bool { return w.workers[0].stage == idle && w.workers[1].stage == idle }

// fairStep takes the next step of a fair run, and returns false when there is none.
func (w *world) fairStep() bool {
	for i := range w.workers {
		if w.workers[i].stage != idle {
			w.step(i)
			return true
		}
	}
	for _, m := range w.bus {
		if m.inFlight == 0 && !m.after.After(w.now) {
			w.deliver(0, m.id, false)
			return true
		}
	}
	for order := range w.entries {
		if up := w.entries[order].wakeup; up != nil && !up.Due.After(w.now) {
			w.fire(order)
			return true
		}
	}
	if at := w.soon(); !at.IsZero() {
		w.pass(at)
		return true
	}
	return false
}

// step makes a worker take its next step, with the first of the gateway's answers.
func (w *world) step(i int) {
	switch w.workers[i].stage {
	case reading:
		w.readRemains(i)
	case acting:
		w.effectDone(i)
	case asking:
		w.ask(i)
	case calling:
		w.give(i, w.answers(i)[0])
	case answering:
		w.answered(i)
	}
}

// give gives worker i an answer of the gateway.
func (w *world) give(i int, b branch) {
	a := b.apply(w)
	w.workers[i].answer, w.workers[i].stage = a, answering
}

// successors calls follow for every possible next step, and says whether it is an event.
func (w *world) successors(follow func(worker int, name string, event bool, apply func(*world))) {
	only := w.unseen()
	for i := range w.workers {
		h := &w.workers[i]
		if only >= 0 && i != only {
			continue
		}
		switch h.stage {
		case idle:
			w.deliveries(i, follow)
		case calling:
			for _, b := range w.answers(i) {
				follow(i, string(h.call.Op)+": "+b.name, false, func(w *world) { w.give(i, b) })
			}
		case answering:
			follow(i, "answered", h.kind != isTargeted, func(w *world) { w.step(i) })
		case acting:
			follow(i, string(w.scene.steps[h.next]), false, func(w *world) { w.step(i) })
		default:
			follow(i, "reads", false, func(w *world) { w.step(i) })
		}
		if w.faults > 0 {
			for _, b := range w.faultsOf(i) {
				follow(i, b.name, false, func(w *world) { b.apply(w) })
			}
		}
	}
	if only >= 0 {
		return
	}
	if w.faults > 0 {
		for _, b := range w.faultsOfWorld() {
			follow(-1, b.name, false, func(w *world) { b.apply(w) })
		}
	}
	if w.faults > 0 && w.scene.has(rollback) && w.kept == nil && w.idle() {
		follow(-1, "the store is copied", false, (*world).copyStore)
	}
	for order := range w.entries {
		if up := w.entries[order].wakeup; up != nil && !up.Due.After(w.now) {
			follow(-1, "wake-up fires", false, func(w *world) { w.fire(order) })
		}
	}
	if at := w.soon(); !at.IsZero() {
		switch {
		case !w.hurried():
			follow(-1, "clock moves", false, func(w *world) { w.pass(at) })
		case w.faults > 0 && w.scene.has(delay):
			follow(-1, "clock moves over busy workers", false, func(w *world) {
				w.faults--
				w.slow()
				w.pass(at)
			})
		}
	}
}

// unseen is a worker whose next step is independent of everything else: another step may as
// well come after it. It is -1 when there is none.
func (w *world) unseen() int {
	return slices.IndexFunc(w.workers[:], func(h handling) bool {
		switch h.stage {
		case acting:
			step := w.scene.steps[h.next]
			return step == StepLetter || step == StepAudit || w.alone(&h)
		case reading:
			return w.alone(&h)
		case answering:
			return h.kind == isTargeted && !w.scene.fresh
		}
		return false
	})
}

// alone reports whether only this handling deals with the cancellation.
func (w *world) alone(h *handling) bool {
	if h.order != cancelling || w.faults > 0 {
		return false
	}
	others := slices.ContainsFunc(w.workers[:], func(o handling) bool {
		return o.stage != idle && o.message != h.message && (o.order == cancelling || o.outer != nil)
	})
	up := w.entries[cancelling].wakeup
	return !others && (up == nil || up.Due.After(w.now)) && !slices.ContainsFunc(w.bus, func(m queued) bool {
		return m.order == cancelling && m.id != h.message
	})
}

// deliveries are the messages that an idle worker may get.
func (w *world) deliveries(i int, follow func(int, string, bool, func(*world))) {
	if i == 1 && w.workers[0].stage == idle && w.stored(watched).Owner == "" {
		return // the idle workers are equal
	}
	for _, m := range w.bus {
		if m.after.After(w.now) {
			continue
		}
		name := fmt.Sprintf("gets request of order %d, generation %d", m.order, m.generation())
		if m.wakeup != nil {
			name = fmt.Sprintf("gets due message of order %d, generation %d", m.order, m.generation())
		}
		switch {
		case m.inFlight == 0:
			follow(i, name, true, func(w *world) { w.deliver(i, m.id, false) })
			if w.faults > 0 && w.scene.has(poison) && m.order == watched && m.byHand == nil {
				follow(i, name+", poisoned", true, func(w *world) {
					w.faults--
					w.entries[watched].excuse = true
					w.deliver(i, m.id, true)
				})
			}
		case w.operator && !w.replayed:
			// A replay of an order that is not closed may be ignored. If another worker accepts
			// it at the same time and dies, the watchdog wakes the order.
		case w.faults > 0 && w.scene.has(staleRedelivery):
			follow(i, name+", again", true, func(w *world) {
				w.faults--
				w.deliver(i, m.id, false)
			})
		}
	}
}

func (s *search) String() string {
	return fmt.Sprintf("%s: %d events, %d faults: %d states, %d transitions", s.scene.name, s.events, s.faults, len(s.visited), s.transitions)
}

// story is the path to the broken invariant.
func (s *search) story() string { return s.broken + "\n  " + strings.Join(s.trace, "\n  ") }
