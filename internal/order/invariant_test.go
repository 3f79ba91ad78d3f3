package order

import (
	"fmt"
	"slices"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// fail keeps the first broken invariant.
func (w *world) fail(format string, args ...any) {
	if w.broken == "" {
		w.broken = fmt.Sprintf(format, args...)
	}
}

// checkWrite checks a write of the ledger: an end is never removed, and generations only grow.
func (w *world) checkWrite(order int, old, next Record) {
	switch {
	case next.Kind == "" || next.Digest == nil:
		w.fail("I2: a record without kind or digest is written")
	case next.Generation < old.Generation:
		w.fail("I2: generation %d goes back to %d", old.Generation, next.Generation)
	case next.Generation > old.Generation:
		// An answer of a later generation than the restored one counts.
		if old.Phase != Closed && old.Phase != "" && next.Phase != Closed && !w.entries[order].lost {
			w.fail("I2: generation %d begins while %d is %s", next.Generation, old.Generation, old.Phase)
		}
	case old.Phase == Closed:
		w.fail("I2: a closed record is written again, as %s", next.Phase)
	case old.Phase == Concluded && next.Phase != Closed:
		w.fail("I2: a concluded record goes back to %s", next.Phase)
	}
}

// checkPublished checks a result that was just published.
func (w *world) checkPublished(order int, r *entrustbus.Result) {
	e := &w.entries[order]
	g := r.Replay
	if e.counts[g]++; e.counts[g] > 1 {
		w.fail("I2: a second result of generation %d", g)
	}
	if order != watched {
		return
	}
	switch r.Outcome {
	case entrustbus.OutcomeUnconfirmed:
		if !e.excuse && !r.PossibleDuplicate {
			w.fail("I2: unconfirmed, and nothing was unknown")
		}
	case entrustbus.OutcomeExpired:
		began := e.began[g]
		switch {
		case r.TrackingID == "":
			w.fail("I5: expired without a tracking id")
		case w.now.Before(began.Add(w.scene.MaxWait)):
			w.fail("I5: expired %s after its acceptance", w.now.Sub(began))
		}
	case entrustbus.OutcomeCancelled:
		if r.TrackingID == "" && !r.PossibleDuplicate && w.gateway.created(g) > 0 && !e.lost {
			w.fail("I3: cancelled without a tracking id, and the gateway holds it")
		}
	}
}

// refusal is the policy's answer in the model.
const refusal = "the policy refuses it"

// refuses reports whether the policy forbids a worker the first call for an order, or a further
// one. A revocation that may already be done is repeated.
func (w *world) refuses(h *handling) bool {
	again := w.scene.kind == entrustbus.KindRevoke && (h.cur.Phase == Submitting || h.cur.Phase == Indeterminate || w.entries[watched].lost)
	return w.denied && h.order == watched && !again
}

// checkCall checks a call that is about to be made: the policy allowed it at its decision.
func (w *world) checkCall(h *handling) {
	if h.refused && (h.call.Op == OpEnroll || h.call.Op == OpRevoke) {
		w.fail("policy: a call of an order that the policy refuses")
	}
}

// checkDenied checks a written record: an order that the gateway may have is not denied.
func (w *world) checkDenied(order int, r Record) {
	if order != watched || r.Phase != Concluded || r.Conclusion.Result.Outcome != entrustbus.OutcomeRejected || r.Conclusion.Result.Error.Code != CodeDenied {
		return
	}
	if w.gateway.created(r.Generation) > 0 && !w.missed && !w.entries[watched].lost {
		w.fail("policy: denied, and the gateway has the order")
	}
}

// checkHandled checks a worker that has handled a message: the definite answer that it got must
// be in the record.
func (w *world) checkHandled(i int) {
	h := &w.workers[i]
	if h.kind != isAnswered || h.call.Op != OpEnroll && h.call.Op != OpRevoke || !h.answer.definite() {
		return
	}
	r := w.entries[h.order].record
	if r == nil || r.Generation != h.call.Generation || w.entries[h.order].lost {
		return
	}
	switch r.Phase {
	case Submitting, Unaccepted, Indeterminate:
		w.fail("I2: a definite answer is thrown away: the record is %s", r.Phase)
	}
}

// check checks what must hold in every state.
func (w *world) check() {
	for order := range w.entries[:w.scene.orders()] {
		w.checkLost(order)
		w.checkLetter(order)
		w.checkAudit(order)
	}
	if w.scene.kind == entrustbus.KindIssue {
		w.checkEnrollments()
	}
}

// pending reports whether something will wake an order of this generation.
func (w *world) pending(order, generation int) bool {
	if w.entries[order].wakeup != nil {
		return true
	}
	return slices.ContainsFunc(w.bus, func(m queued) bool {
		return m.order == order && (m.wakeup != nil || m.generation() == generation)
	})
}

// closable reports whether the record after a loss only needs to be closed with the result in
// force. The watchdog does that.
func (e *entry) closable() bool {
	return e.lost && e.result != nil && e.result.Replay >= e.record.Generation
}

// checkLost is I1: every accepted request has ended, or something will wake its order.
func (w *world) checkLost(order int) {
	e := &w.entries[order]
	r := e.record
	switch {
	case r == nil:
		if e.result == nil && len(e.letters) == 0 && !w.pending(order, 0) && !w.pending(order, e.opened) {
			w.fail("I1: no record, no result, and nothing brings the order back")
		}
	case r.Phase == Closed:
		switch {
		case e.result == nil || e.result.Replay < r.Generation:
			w.fail("I1: closed without a result of generation %d", r.Generation)
		case e.result.Replay == r.Generation && e.result.Outcome != r.Outcome:
			w.fail("I2: closed as %s, and the result says %s", r.Outcome, e.result.Outcome)
		}
	case e.closable(), e.orphan:
	case !w.pending(order, r.Generation):
		w.fail("I1: nothing brings back an order that is %s", r.Phase)
	}
	if order == watched && w.replayed && !e.lost && e.opened == 0 && !w.pending(order, 1) {
		w.fail("I1: a replay was lost")
	}
}

// checkLetter is the other half of I1. An end that an operator can act on has its dead letter
// from the moment the order is closed.
func (w *world) checkLetter(order int) {
	e := &w.entries[order]
	if e.record == nil || e.record.Phase != Closed || e.result == nil || order != watched {
		return
	}
	r := e.result
	reasons := []Reason{Crashed}
	switch r.Outcome {
	case entrustbus.OutcomeExpired:
		reasons = append(reasons, Expired)
	case entrustbus.OutcomeUnconfirmed:
		reasons = append(reasons, Unconfirmed)
	case entrustbus.OutcomeRejected:
		reasons = append(reasons, Rejected)
		if r.Error.Class == entrustbus.ClassPolicy {
			reasons = []Reason{Crashed, Denied}
		}
	case entrustbus.OutcomeFailed:
		if r.Error.Code == "resolved" {
			return
		}
		reasons = append(reasons, Rejected, Invalid, Undecodable, WrongCertificate)
	default:
		return
	}
	for _, reason := range reasons {
		id := entrustbus.ResultMsgID(r.Producer, r.ID, r.Replay) + "." + string(reason)
		if slices.Contains(e.letters, id) {
			return
		}
	}
	w.fail("I1: ended as %s without a dead letter", r.Outcome)
}

// checkAudit: an end with an effect outside is in the audit trail from the moment the
// order is closed.
func (w *world) checkAudit(order int) {
	e := &w.entries[order]
	if e.record == nil || e.record.Phase != Closed || e.result == nil || e.result.Replay != e.record.Generation || e.lost || !outside(e.result) {
		return
	}
	a := (Audit{}).Of(e.result)
	if id := a.ID(keys[order]); !slices.Contains(e.audits, id) {
		w.fail("audit: closed as %s without a record in the trail", e.result.Outcome)
	}
}

// checkEnrollments is I3: there is no blind second enrollment, and the result mentions a
// possible one.
func (w *world) checkEnrollments() {
	e := &w.entries[watched]
	explained := w.scene.OnLostReply == Resubmit || w.operator || w.missed
	if n := w.gateway.created(generations); n > 1 && !explained {
		w.fail("I3: %d enrollments", n)
	}
	r := e.result
	if r == nil || e.lost {
		return
	}
	if r.Submissions < e.posts[r.Replay] {
		w.fail("I3: the result counts %d submissions of %d", r.Submissions, e.posts[r.Replay])
	}
	if n := w.gateway.created(r.Replay); n > 1 && !r.PossibleDuplicate && !w.resolved && !w.missed {
		w.fail("I3: %d enrollments, and the result admits none", n)
	}
}

// checkEnded is liveness: when nothing more happens, every order is closed.
func (w *world) checkEnded() {
	for order := range w.entries[:w.scene.orders()] {
		e := &w.entries[order]
		switch {
		case e.record == nil && (e.result != nil || len(e.letters) > 0):
		case e.record != nil && (e.closable() || e.orphan):
		case e.record == nil || e.record.Phase != Closed:
			w.fail("liveness: the order rests as %q", w.stored(order).Phase)
		}
	}
}
