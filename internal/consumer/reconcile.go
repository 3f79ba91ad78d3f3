package consumer

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
)

// searchMargin is how much earlier than the submission a look-up begins, for
// clocks that differ.
const searchMargin = 2 * time.Minute

// reconcile finds out what became of a submission whose answer was lost, and
// adopts it, submits again, or holds the order. The record says Posting and
// this worker holds it.
func (w *Worker) reconcile(ctx context.Context, o *order, e gateway.Enrollment, code, why string) error {
	// Kept with whatever is written from here on: whoever goes on after a wait or a
	// stop must not take an answer that nobody could read for a worker's death.
	o.rec.FateCode, o.rec.FateWhy = code, why
	if w.gw.CanFind() {
		// A call that its worker was slow to begin lasts until the lease ends.
		settle := o.rec.SubmittedAt.Add(w.cfg.lease() + w.cfg.EventDelay)
		if wait := time.Until(settle); wait > 0 {
			w.log.WarnContext(ctx, "an order's fate is unknown; looking it up later", o.logArgs("wait", wait, "err", why)...)
			return w.lookUpLater(ctx, o, wait)
		}
		if err := w.gate.pass(ctx, forRequest); err != nil {
			return w.release(ctx, o, err)
		}
		begun := time.Now()
		var stopped error
		found, ok, err := w.gw.Find(ctx, gateway.Search{
			CAID: e.CAID, CSR: e.CSR, SANs: e.SANs, Since: o.rec.SubmittedAt.Add(-searchMargin),
			Wait: func(ctx context.Context, throttled error) error {
				if throttled != nil {
					w.observe(ctx, "find", begun, 0, throttled)
				}
				stopped = w.gate.pass(ctx, forRequest)
				return stopped
			},
		})
		if stopped != nil {
			return w.release(ctx, o, stopped)
		}
		refused := w.observe(ctx, "find", begun, http.StatusOK, err)
		switch {
		case errors.Is(err, gateway.ErrNoLookup):
		case refused, gateway.FateOf(err) == gateway.Refused, gateway.FateOf(err) == gateway.NotFound, gateway.FateOf(err) == gateway.Unreadable:
			// Asking again gets the same answer: it cannot be looked up.
			w.log.WarnContext(ctx, "an order's fate cannot be looked up", o.logArgs("err", err)...)
		case err != nil:
			o.rec.Tries++
			wait := w.cfg.Schedule.Wait(o.rec.Tries - 1)
			w.log.WarnContext(ctx, "looking up an order; trying again", o.logArgs("attempt", o.rec.Tries, "wait", wait, "err", err)...)
			return w.lookUpLater(ctx, o, wait)
		case ok:
			w.log.WarnContext(ctx, "adopted a certificate whose answer was lost", o.logArgs()...)
			w.metrics.reconciled("adopted")
			return w.enrolled(ctx, o, found)
		case w.cfg.ApprovalNever && code == lostReply:
			return w.resubmit(ctx, o, e, code, why, false)
		}
	}
	if w.cfg.OnLostReply == Resubmit && code == lostReply {
		return w.resubmit(ctx, o, e, code, why, true)
	}
	return w.hold(ctx, o, code, why)
}

// lookUpLater sets an order of unknown fate aside.
func (w *Worker) lookUpLater(ctx context.Context, o *order, wait time.Duration) error {
	return w.orRelease(ctx, o, w.shelve(ctx, o, wait))
}

// resubmit sends the order again, flagged where the first may have been taken.
func (w *Worker) resubmit(ctx context.Context, o *order, e gateway.Enrollment, code, why string, flag bool) error {
	if o.rec.Submissions >= maxSubmissions {
		return w.hold(ctx, o, code, why)
	}
	if err := w.gate.pass(ctx, forRequest); err != nil {
		return w.release(ctx, o, err)
	}
	first := w.firstRecord(o, true)
	o.rec.Worker, o.rec.Lease, o.rec.SubmittedAt, o.rec.Posting = w.id, first.Lease, first.SubmittedAt, true
	o.rec.Submissions++
	o.rec.PossibleDuplicate = o.rec.PossibleDuplicate || flag
	o.rec.FateCode, o.rec.FateWhy = "", ""
	if err := w.update(ctx, o, "recording another submission"); err != nil {
		return err
	}
	w.log.WarnContext(ctx, "submitting an order again", o.logArgs("attempt", o.rec.Submissions, "possible_duplicate", o.rec.PossibleDuplicate, "err", why)...)
	w.metrics.reconciled("resubmitted")
	return w.submit(ctx, o, e)
}

// hold ends an order as unconfirmed: an operator has to look.
func (w *Worker) hold(ctx context.Context, o *order, code, why string) error {
	w.metrics.reconciled("held")
	r := o.result(entrustbus.OutcomeUnconfirmed, &w.cfg)
	class := entrustbus.ClassNetwork
	if code != lostReply {
		class = entrustbus.ClassOther
	}
	r.Error = &entrustbus.ResultError{Class: class, Code: code, Message: why}
	return w.finish(ctx, o, r, deadletter.Unconfirmed, why)
}
