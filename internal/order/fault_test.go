package order

import (
	"slices"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// faulty is one fault of the world, or one act of an operator. Each counts as one of the faults
// of a search.
type faulty string

const (
	delay           faulty = "delay"                // a worker stops for a while, between any two steps or in a call
	death           faulty = "death"                // a worker dies between two steps; a drain without a record to keep is the same
	lostAck         faulty = "lost acknowledgement" // a write was stored, and its writer does not know
	staleRedelivery faulty = "stale redelivery"     // a message comes again while it is handled
	openBreaker     faulty = "open breaker"         // the call is deferred
	drain           faulty = "drain"                // a stop interrupts the publication of a result
	lostRecord      faulty = "lost record"          // the ledger was made again
	rollback        faulty = "rollback"             // a copy of the store is restored while workers run
	duplicate       faulty = "duplicate"            // the producer publishes the request again
	replay          faulty = "replay"               // an operator replays the order
	completion      faulty = "completion"           // an operator brings the certificate
	resolution      faulty = "resolution"           // an operator resolves the order as never issued
	poison          faulty = "poison"               // a message crashed workers too often
	lateEvents      faulty = "late events"          // the gateway's events lack a certificate
	denial          faulty = "denial"               // the policy refuses the order from now on
)

func everyFault() []faulty {
	return []faulty{
		delay, death, lostAck, staleRedelivery, openBreaker, drain, lostRecord, duplicate, replay, completion, resolution, poison,
		lateEvents, denial,
	}
}

func (s *scene) has(f faulty) bool { return slices.Contains(s.possible, f) }

// hurried reports whether a worker is busy without a delay: its steps take no time.
func (w *world) hurried() bool {
	return slices.ContainsFunc(w.workers[:], func(h handling) bool { return h.stage != idle && !h.slow })
}

// slow delays every busy worker while it handles its message.
func (w *world) slow() {
	for i := range w.workers {
		w.workers[i].slow = w.workers[i].stage != idle
	}
}

// kill ends a worker. Its message comes again.
func (w *world) kill(i int) {
	h := w.workers[i]
	for at := &h; at != nil; at = at.outer {
		if at.underWay() {
			w.entries[at.order].excuse = true
		}
	}
	w.release(h.message, 0)
	w.workers[i] = handling{}
}

// loseAck carries out the next effect without an acknowledgement to the worker.
func (w *world) loseAck(i int) {
	h := &w.workers[i]
	if w.scene.steps[h.next] != StepRecord {
		knew := h.cur
		if w.effect(i) {
			h.cur = knew
		}
		return
	}
	if next, won := w.write(h.order, h.cur, *h.decision.Record); won {
		w.accepted(i, next)
		h.stage, h.written = asking, next
	}
}

// stop interrupts the publication of the next result.
func (w *world) stop(i int) {
	h := &w.workers[i]
	if !w.scene.mutant.forgetsKeep {
		if _, won := w.write(h.order, h.cur, *h.decision.Keep); !won {
			w.lostTo(i)
			return
		}
	}
	w.checkHandled(i)
	w.release(h.message, 0)
	w.workers[i] = handling{}
}

// faultsOf returns the faults that may happen to worker i now.
func (w *world) faultsOf(i int) []branch {
	h := &w.workers[i]
	var all []branch
	add := func(f faulty, apply func(w *world)) {
		if w.scene.has(f) {
			all = append(all, branch{string(f), func(w *world) *Answer {
				w.faults--
				apply(w)
				return nil
			}})
		}
	}
	if h.stage == idle {
		return nil
	}
	add(death, func(w *world) { w.kill(i) })
	if h.stage == acting {
		switch step := w.scene.steps[h.next]; {
		case step == StepSettle: // the same as a death before it
		case step == StepRecord && w.stored(h.order).Revision != h.cur.Revision:
		default:
			add(lostAck, func(w *world) { w.loseAck(i) })
		}
		if w.scene.steps[h.next] == StepResult && h.decision.Keep != nil {
			add(drain, func(w *world) { w.stop(i) })
		}
		if h.decision.Call != nil && h.decision.Call.Op != OpTarget && !h.began {
			add(openBreaker, func(w *world) { w.decide(i, true) })
		}
	}
	if h.stage == calling && !h.began {
		add(openBreaker, func(w *world) { w.decide(i, true) })
	}
	return all
}

// creating reports whether a worker found no record before another worker wrote one. If the
// ledger is made again then, both submit the order: no compare-and-set shows the second that
// there was a record. This is the only step that the search leaves out.
func (w *world) creating() bool {
	return slices.ContainsFunc(w.workers[:], func(h handling) bool {
		return h.stage != idle && h.order == watched && h.cur.Revision == 0
	})
}

// faultsOfWorld returns the faults that need no worker.
func (w *world) faultsOfWorld() []branch {
	var all []branch
	add := func(f faulty, apply func(w *world)) {
		if w.scene.has(f) {
			all = append(all, branch{string(f), func(w *world) *Answer {
				w.faults--
				apply(w)
				return nil
			}})
		}
	}
	e := &w.entries[watched]
	if e.record != nil && !w.creating() {
		add(lostRecord, func(w *world) {
			e := &w.entries[watched]
			e.record, e.lost, e.lostTo, e.excuse = nil, true, w.ids, true
		})
	}
	if !w.denied {
		add(denial, func(w *world) { w.denied = true })
	}
	if w.kept != nil {
		add(rollback, (*world).putBack)
	}
	first := w.scene.requests[0]
	add(duplicate, func(w *world) { w.request(watched, first, nil) })
	if e.record == nil || w.operator {
		return all
	}
	next := e.record.Generation + 1
	if next >= len(w.scene.requests) {
		return all
	}
	q := w.scene.requests[next]
	if _, refusal := ReplayOf(e.record.Record); refusal == "" {
		add(replay, func(w *world) {
			w.operator, w.replayed = true, true
			w.request(watched, q, nil)
		})
		add(resolution, func(w *world) {
			w.operator, w.resolved, w.replayed = true, true, true
			w.request(watched, q, &ByHand{})
		})
		if e.record.Kind == entrustbus.KindIssue {
			add(completion, func(w *world) {
				w.operator, w.replayed = true, true
				w.request(watched, q, &ByHand{Certificate: leaf})
			})
		}
	} else {
		add(replay, func(w *world) {
			w.operator = true
			w.request(watched, q, nil)
		})
	}
	return all
}
