package order

import (
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// handling is one worker with one message in flight. It models the loop of package consumer.
// The zero value is an idle worker.
type handling struct {
	stage   stage
	message uint64
	again   bool // the message was delivered before
	order   int
	slow    bool // a delay was counted
	since   bool // the store was rolled back since this worker read the record

	// The event, by its kind. Request and wakeup are those of the message.
	kind    eventKind
	request *Request
	byHand  *ByHand
	wakeup  *Wakeup
	call    *Call
	answer  *Answer
	target  *Stored

	cur      *Stored // the record that this worker knows
	under    *Stored // the record under which the call was made
	remains  Remains
	decision *Decision
	next     int                // the next step
	decided  time.Time          // when the decision was made
	began    bool               // an effect of the decision was carried out
	refused  bool               // the policy refused the order when it was made
	stands   *entrustbus.Result // the result with which the order is closed
	written  *Stored            // a write whose acknowledgement was lost
	outer    *handling          // the cancellation that this end of its target belongs to
}

type stage int

const (
	idle      stage = iota
	reading         // next: read what the bus holds beside the record
	acting          // next: an effect
	asking          // next: read back a write whose acknowledgement was lost
	calling         // next: the call
	answering       // next: decide about an answer
)

type eventKind int

const (
	isDelivered eventKind = iota + 1
	isWoken
	isAnswered
	isCancelled
	isTargeted
	isPoisoned
	isByHand
)

// underWay reports whether a crash of the worker loses the gateway's action or answer.
func (h *handling) underWay() bool {
	// The record already says that the call may be under way.
	about := h.stage == acting && h.began && h.decision != nil && h.decision.Call != nil
	return h.stage == calling || h.stage == answering || h.stage == asking || about || h.stage != idle && h.kind == isAnswered
}

// deliver gives a message to an idle worker, which reads the record.
func (w *world) deliver(i int, id uint64, poison bool) {
	m := w.message(id)
	h := handling{message: id, again: m.again, order: m.order, wakeup: m.wakeup, kind: isWoken}
	if m.request != nil {
		q := *m.request
		q.Deliveries = 1
		if m.again {
			q.Deliveries = 2
		}
		h.request, h.byHand, h.kind = &q, m.byHand, isDelivered
	}
	if m.byHand != nil {
		h.kind = isByHand
	}
	if poison {
		h.kind = isPoisoned
	}
	m.inFlight++
	m.again = true
	if w.scene.mutant.acksFirst {
		w.acknowledge(id)
	}
	w.workers[i] = h
	w.read(i)
}

// read reads the record, and decides unless something else must be read first.
func (w *world) read(i int) {
	h := &w.workers[i]
	h.cur = w.stored(h.order)
	w.found(i)
}

// readAgain is read for a worker that has an answer of the gateway.
func (w *world) readAgain(i int) {
	h := &w.workers[i]
	h.cur = w.stored(h.order)
	if h.kind == isAnswered && (h.cur.Phase == "" || h.cur.Generation < h.under.Generation) {
		h.cur = &Stored{Record: h.under.Record, Revision: h.cur.Revision, At: h.under.At}
	}
	w.found(i)
}

// found continues with the record that was read.
func (w *world) found(i int) {
	h := &w.workers[i]
	h.since = false
	h.remains = Remains{CanLookUp: w.scene.canLookUp, Forgotten: w.forgotten(h)}
	if (h.kind == isDelivered || h.kind == isWoken || h.kind == isAnswered) && h.cur.NeedsRemains(h.again || h.remains.Forgotten) {
		h.stage = reading
		return
	}
	w.decide(i, false)
}

// readRemains reads what the bus holds beside the record.
func (w *world) readRemains(i int) {
	h := &w.workers[i]
	e := &w.entries[h.order]
	h.remains.Result = e.result
	if h.cur.Phase == "" || h.cur.Phase.Waits() && h.kind == isDelivered {
		h.remains.Wakeup = e.wakeup
	}
	w.decide(i, false)
}

// asks returns the function that reads the order's request, as package consumer does.
func (w *world) asks(h *handling) func() *Request {
	if h.request != nil {
		return func() *Request { return h.request }
	}
	raw := h.cur.Request
	if raw == nil && h.wakeup != nil {
		raw = h.wakeup.Request
	}
	return func() *Request { return w.scene.parsed[raw] }
}

func (w *world) event(h *handling) Event {
	asks := w.asks(h)
	remains := h.remains
	if w.scene.turns {
		remains.Judge = func(Record) Verdict { return Verdict{After: 30 * time.Second} }
	}
	if w.denied && h.order == watched {
		remains.Judge = func(Record) Verdict { return Verdict{Denied: refusal, Digest: []byte("digest")} }
	}
	switch h.kind {
	case isDelivered:
		return Delivered{Request: *h.request, Remains: remains}
	case isWoken:
		return Woken{Wakeup: *h.wakeup, Remains: remains, Request: asks}
	case isAnswered:
		return Answered{Call: *h.call, Answer: *h.answer, Remains: remains, Request: asks}
	case isCancelled:
		return Cancelled{Remains: h.remains, Request: asks}
	case isTargeted:
		return Targeted{Target: *h.target, Request: asks}
	case isByHand:
		e := *h.byHand
		e.Request = *h.request
		return e
	}
	q := Request{Key: keys[h.order], Kind: h.cur.Kind}
	if asked := asks(); asked != nil {
		q = *asked
	}
	if h.wakeup != nil {
		q.Generation = h.wakeup.Generation
	}
	return Poisoned{Request: q}
}

// decide asks the machine. Deferred says that the call may not be made now.
func (w *world) decide(i int, deferred bool) {
	h := &w.workers[i]
	h.remains.Forgotten = w.forgotten(h)
	ev := w.event(h)
	if deferred {
		ev = Deferred{By: ev, For: breakerOpen, Request: w.asks(h)}
	}
	d := w.scene.decide(w.scene.machine(i), w.now, keys[h.order], *h.cur, ev)
	h.decided = w.now
	h.refused = w.refuses(h)
	h.stage, h.decision, h.next, h.began, h.stands = acting, &d, 0, false, d.Stands
	w.advance(i)
}

// advance goes to the next effect of the decision, then to its call, then to its end.
func (w *world) advance(i int) {
	h := &w.workers[i]
	for h.next < len(w.scene.steps) && !h.decision.Has(w.scene.steps[h.next]) {
		h.next++
	}
	switch {
	case h.next < len(w.scene.steps):
	case h.decision.Call == nil:
		w.finish(i)
	case h.decision.Call.Op == OpTarget:
		outer := *h
		outer.call, outer.decision = h.decision.Call, nil
		w.workers[i] = handling{message: h.message, again: h.again, slow: h.slow, order: watched, kind: isCancelled, outer: &outer}
		w.read(i)
	default:
		h.stage, h.call, h.decision, h.under = calling, h.decision.Call, nil, h.cur
		if h.since && h.call.Op == OpEnroll {
			h.answer, h.stage = &Answer{Word: NoAnswer, Error: fault}, answering
			return
		}
		w.checkCall(h)
	}
}

// finish ends a handling. A target's end gives the cancellation its answer.
func (w *world) finish(i int) {
	h := w.workers[i]
	w.workers[i] = handling{}
	if h.outer == nil {
		if h.decision.Settle.Verb == Leave {
			w.release(h.message, 0)
		}
		return
	}
	o := *h.outer
	o.kind, o.target, o.stage, o.slow = isTargeted, h.cur, answering, h.slow
	w.workers[i] = o
}

// effect carries out the next effect. It returns false when another writer was first: then the
// worker has read the record and decided again.
func (w *world) effect(i int) bool {
	h := &w.workers[i]
	d := h.decision
	if h.since && !w.scene.mutant.ignoresLoss {
		return w.startOver(i)
	}
	switch w.scene.steps[h.next] {
	case StepRecord:
		if w.scene.mutant.callsUnrecorded && d.Record.Phase == Submitting {
			h.cur = &Stored{Record: *d.Record, Revision: h.cur.Revision, At: w.now}
			break
		}
		next, won := w.write(h.order, h.cur, *d.Record)
		if !won {
			return w.lostTo(i)
		}
		w.accepted(i, next)
		h.cur = next
	case StepLetter:
		w.deadLetter(h.order, d.Letter)
	case StepResult:
		h.stands = w.publish(h.order, d.Result.Result)
	case StepAudit:
		w.audit(h.order, d.Audit, h.stands)
	case StepClosed:
		if !w.close(i) {
			return false
		}
	case StepWakeup:
		if d.Wakeup != nil {
			w.entries[h.order].wakeup = d.Wakeup
		} else {
			w.unwake(h.order, h.stands.Replay)
		}
	case StepSettle:
		switch d.Settle.Verb {
		case Ack, AckSure:
			w.checkHandled(i)
			w.acknowledge(h.message)
		case Return:
			w.release(h.message, d.Settle.After)
		}
	}
	return true
}

// lostTo reads a record again that another writer changed, and decides again.
func (w *world) lostTo(i int) bool {
	if w.scene.mutant.dropsOnConflict {
		h := &w.workers[i]
		w.checkHandled(i)
		w.acknowledge(h.message)
		w.workers[i] = handling{}
		return false
	}
	w.readAgain(i)
	return false
}

// close writes that the order is closed, unless it is closed already, a later generation is
// open, or the record is lost.
func (w *world) close(i int) bool {
	h := &w.workers[i]
	stands := h.stands
	if stands == nil {
		stands = h.decision.Result.Result // a mutant closes before it publishes
	}
	if next, won := w.write(h.order, h.cur, h.cur.Closed(stands)); won {
		h.cur = next
		return true
	}
	h.cur = w.stored(h.order)
	over := h.cur.Phase == "" || h.cur.Phase == Closed || h.cur.Generation > stands.Replay
	return over && !w.scene.mutant.closesAny
}

// effectDone carries out the next effect and continues.
func (w *world) effectDone(i int) {
	if w.effect(i) {
		w.workers[i].next++
		w.workers[i].began = true
		w.advance(i)
	}
}

// ask reads back the write whose acknowledgement was lost. The nonce identifies it, unless
// another worker has overwritten it.
func (w *world) ask(i int) {
	h := &w.workers[i]
	if w.stored(h.order).Revision != h.written.Revision {
		w.read(i)
		return
	}
	h.cur, h.written, h.stage = h.written, nil, acting
	h.next++
	h.began = true
	w.advance(i)
}

// answered makes the worker decide about the answer. In some scenes it reads the record first.
func (w *world) answered(i int) {
	h := &w.workers[i]
	if h.kind != isTargeted {
		h.kind = isAnswered
	}
	if w.scene.fresh {
		w.read(i)
		return
	}
	w.decide(i, false)
}

// breakerOpen is how long a call is deferred.
const breakerOpen = 30 * time.Second
