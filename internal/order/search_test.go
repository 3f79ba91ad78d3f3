package order

import (
	"fmt"
	"slices"
	"strings"
)

// search visits every state that a scene can reach in so many events, with so many
// faults. An event is a delivery or an answer; the effects between them, the clock and
// the wake-ups that fire are free. It stops at the first invariant that breaks.
type search struct {
	scene          *scene
	events, faults int

	visited     map[fingerprintOf]int8 // faults left, plus one
	ending      map[fingerprintOf]bool // states whose fair run ends well
	transitions int
	broken      string
	trace       []string
}

// trail is how a state was reached.
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
	world
	trail *trail
}

// run searches, and reports whether every invariant held.
func (s *search) run() bool {
	s.visited, s.ending = map[fingerprintOf]int8{}, map[fingerprintOf]bool{}
	layer := []reached{{world: s.scene.world(s.faults)}}
	for left := s.events; len(layer) > 0; left-- {
		var later []reached
		for len(layer) > 0 {
			at := layer[len(layer)-1]
			layer = layer[:len(layer)-1]
			if !s.enter(&at) {
				continue
			}
			if s.broken != "" {
				s.trace = at.trail.steps()
				return false
			}
			at.successors(func(worker int, name string, event bool, next *world) {
				s.transitions++
				if event && left == 0 {
					return
				}
				r := reached{*next, &trail{at.trail, worker, name}}
				if event {
					later = append(later, r)
				} else {
					layer = append(layer, r)
				}
			})
		}
		layer = later
	}
	return true
}

// enter checks a state that is new, and reports whether it is.
func (s *search) enter(at *reached) bool {
	print := at.fingerprint()
	if s.visited[print] > int8(at.faults) {
		return false
	}
	s.visited[print] = int8(at.faults) + 1
	at.check()
	s.broken = at.broken
	if s.broken == "" {
		s.endFairly(at, print)
	}
	return true
}

// maxFair bounds the steps of a fair run.
const maxFair = 1000

// endFairly runs the world without faults, with a gateway that answers definitely, until
// nothing happens any more. States in which both workers are idle are remembered.
func (s *search) endFairly(at *reached, print fingerprintOf) {
	w := at.world
	var passed []fingerprintOf
	for n := 0; ; n++ {
		if w.idle() {
			if n > 0 {
				print = w.fingerprint()
			}
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

// fairStep takes the next step of a fair run, false where there is none.
func (w *world) fairStep() bool {
	for i := range w.workers {
		if w.workers[i].stage != idle {
			w.step(i)
			return true
		}
	}
	for _, m := range w.bus {
		if m.held == 0 && !m.after.After(w.now) {
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

// step has a worker do what comes next, with the first of the gateway's answers.
func (w *world) step(i int) {
	switch w.workers[i].stage {
	case reading:
		w.readRemains(i)
	case acting:
		w.effectDone(i)
	case asking:
		w.ask(i)
	case calling:
		w.take(i, w.answers(i)[0])
	case answering:
		w.answered(i)
	}
}

// take gives worker i an answer of the gateway.
func (w *world) take(i int, b branch) {
	a := b.apply(w)
	w.workers[i].answer, w.workers[i].stage = a, answering
}

// successors hands every state that can follow to visit.
func (w *world) successors(visit func(worker int, name string, event bool, next *world)) {
	follow := func(worker int, name string, event bool, apply func(*world)) {
		next := *w
		apply(&next)
		visit(worker, name, event, &next)
	}
	for i := range w.workers {
		h := &w.workers[i]
		switch h.stage {
		case idle:
			w.deliveries(i, follow)
		case calling:
			for _, b := range w.answers(i) {
				follow(i, string(h.call.Op)+": "+b.name, false, func(w *world) { w.take(i, b) })
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
	if w.faults > 0 {
		for _, b := range w.faultsOfWorld() {
			follow(-1, b.name, false, func(w *world) { b.apply(w) })
		}
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

// deliveries are the messages that an idle worker may get.
func (w *world) deliveries(i int, follow func(int, string, bool, func(*world))) {
	if i == 1 && w.workers[0].stage == idle && w.stored(watched).Owner == "" {
		return // one idle worker is like the other
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
		case m.held == 0:
			follow(i, name, true, func(w *world) { w.deliver(i, m.id, false) })
			if w.faults > 0 && w.scene.has(poison) && m.order == watched && m.byHand == nil {
				follow(i, name+", poisoned", true, func(w *world) {
					w.faults--
					w.entries[watched].excuse = true
					w.deliver(i, m.id, true)
				})
			}
		case w.operator && !w.replayed:
			// A replay of an order that is alive may be ignored. Where another worker
			// accepts it at the same time, and dies, the watchdog brings the order back.
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

// story is how the invariant broke.
func (s *search) story() string { return s.broken + "\n  " + strings.Join(s.trace, "\n  ") }
