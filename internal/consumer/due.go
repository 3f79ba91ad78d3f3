package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/parking"
)

// due handles the wake-up of a parked order. Whether the order still waits, the
// ledger says: a wake-up may come twice, or after the order's end.
func (w *Worker) due(ctx context.Context, d *delivery) error {
	slot, err := w.lot.Due(d.msg.Subject(), d.msg.Headers(), d.msg.Data())
	if err != nil {
		return w.stray(ctx, d, err)
	}
	o := &order{
		key: slot.Key, replay: slot.Replay, kind: slot.Kind, raw: slot.Request,
		deliveries: d.deliveries, polls: slot.Attempt,
	}
	// The gate comes before the ledger: whoever waits at it for long may lose the
	// message to another worker, which ends the order meanwhile.
	if err := w.gate.pass(ctx, false); err != nil {
		return err
	}
	rec, err := w.ledger.Get(ctx, o.key)
	if errors.Is(err, ledger.ErrNoRecord) {
		rec, err = w.restore(ctx, o, slot)
	}
	if err != nil {
		return err
	}
	if rec == nil || rec.State != ledger.Parked || rec.Replay != slot.Replay {
		w.log.DebugContext(ctx, "a wake-up of an order that does not wait", o.logArgs()...)
		return nil
	}
	o.rec, o.requestedAt = rec, rec.RequestedAt
	// The server fires by its own clock: with ours behind it, the order would be
	// parked again at a deadline that has passed there, and woken at once.
	o.last = !slot.Due.Before(rec.Deadline)
	if rec.Request != nil {
		o.raw = rec.Request
	}
	if err := w.read(o); err != nil {
		// It was read before it was parked; a newer worker may read more strictly.
		return w.finish(ctx, o, o.failed(&w.cfg, entrustbus.ClassValidation, "invalid_request", err.Error()), deadletter.Invalid, err.Error())
	}
	w.metrics.poll(max(0, time.Since(slot.Due)))
	return w.poll(ctx, o)
}

// poll asks the gateway once what became of a parked order.
func (w *Worker) poll(ctx context.Context, o *order) error {
	question := gateway.Poll{TrackingID: o.rec.TrackingID, SubmittedAt: o.rec.SubmittedAt}
	switch q := o.request.(type) {
	case *entrustbus.Issue:
		question.CAID = q.CAID
		question.CSR, _ = q.CertificateRequest() // read a moment ago
	case *entrustbus.Track:
		question.CAID = q.CAID
		question.CSR, _ = q.CertificateRequest()
	}
	pause := backoff{first: 200 * time.Millisecond, max: 5 * time.Second}
	for refusals := 0; ; {
		begun := time.Now()
		answer, err := w.gw.Poll(ctx, question)
		edge("polled")
		w.observe(ctx, "poll", begun, answer.HTTPStatus, err)
		switch gateway.FateOf(err) {
		case 0:
			o.polls++
			switch answer.State {
			case gateway.Issued:
				return w.issued(ctx, o, answer)
			case gateway.Rejected:
				return w.rejected(ctx, o, answer)
			}
			w.log.DebugContext(ctx, "polled", o.logArgs("attempt", o.polls, "outcome", answer.Status)...)
			// Only a poll made at or after the deadline was the last one.
			if o.last || !begun.Before(o.rec.Deadline) {
				return w.expired(ctx, o)
			}
			return w.park(ctx, o, answer.RetryAfter)
		case gateway.NotAccepted, gateway.Throttled, gateway.Unauthorized:
			// The gateway was not asked, so this was no poll: wait, and ask.
			if refusals++; refusals >= patience(err) {
				return w.pollAgain(ctx, o, err)
			}
			if err := sleep(ctx, pause.next()); err != nil {
				return err
			}
			if err := w.gate.pass(ctx, false); err != nil {
				return err
			}
			if waits, err := w.stillWaits(ctx, o); err != nil || !waits {
				return err
			}
		case gateway.Refused, gateway.NotFound:
			o.polls++
			return w.refused(ctx, o, err)
		default: // no answer, or one that says nothing
			o.polls++
			w.log.WarnContext(ctx, "polling; asking again", o.logArgs("attempt", o.polls, "err", err)...)
			return w.pollAgain(ctx, o, err)
		}
	}
}

// stillWaits reads the ledger again after a wait in which another worker may have
// got the message.
func (w *Worker) stillWaits(ctx context.Context, o *order) (bool, error) {
	rec, err := w.ledger.Get(ctx, o.key)
	if err != nil {
		return false, err
	}
	if rec.State != ledger.Parked || rec.Replay != o.replay {
		return false, nil
	}
	o.rec = rec
	return true, nil
}

// pollAgain parks an order whose poll told nothing. The deadline stands, but an
// order is not expired on a question that was not answered: it gets until one
// longest wait after it.
func (w *Worker) pollAgain(ctx context.Context, o *order, why error) error {
	now := time.Now()
	if !o.last && now.Before(o.rec.Deadline) {
		var retryAfter time.Duration
		if e, ok := errors.AsType[*gateway.Error](why); ok {
			retryAfter = e.RetryAfter
		}
		return w.park(ctx, o, retryAfter)
	}
	if grace := o.rec.Deadline.Add(w.cfg.Schedule.Max); now.After(grace) {
		return w.expired(ctx, o)
	}
	return later(min(w.cfg.Schedule.First, w.cfg.Schedule.Max), fmt.Errorf("the last poll was not answered: %w", why))
}

// park arms the slot for the next poll. The ledger record is refreshed before
// the bucket would let it go.
func (w *Worker) park(ctx context.Context, o *order, retryAfter time.Duration) error {
	if time.Since(o.rec.UpdatedAt) > w.cfg.Layout.OrdersMaxAge/4 {
		if err := w.update(ctx, o, "keeping a ledger record"); err != nil {
			return err
		}
	}
	return w.arm(ctx, o, o.polls, retryAfter)
}

// expired ends an order that nobody approved in time. Its tracking id is in the
// result: a track request takes it up again without a new enrollment.
func (w *Worker) expired(ctx context.Context, o *order) error {
	w.metrics.expired()
	why := fmt.Sprintf("no approval before the deadline %s", o.rec.Deadline.Format(time.RFC3339))
	r := o.result(entrustbus.OutcomeExpired, &w.cfg)
	r.Error = &entrustbus.ResultError{Class: entrustbus.ClassTimeout, Code: "deadline", Message: why}
	return w.finish(ctx, o, r, deadletter.Expired, why)
}

// restore writes the ledger record of an order whose slot is all that is left
// of it, unless its result says that it ended. It returns nil where it did.
func (w *Worker) restore(ctx context.Context, o *order, slot *parking.Slot) (*ledger.Record, error) {
	if r, _, err := w.lastResult(ctx, o.key); err != nil || (r != nil && r.Replay >= slot.Replay) {
		return nil, err
	}
	if err := w.read(o); err != nil {
		o.request = nil
	}
	rec := &ledger.Record{
		State: ledger.Parked, Kind: slot.Kind, Digest: o.digest, Replay: slot.Replay, TrackingID: slot.TrackingID,
		Deadline: slot.Deadline, RequestedAt: time.Now().UTC(), Submissions: 1, Request: slot.Request,
	}
	w.log.WarnContext(ctx, "the ledger lost an order; restoring it from its slot", o.logArgs()...)
	err := w.persist(ctx, "restoring a ledger record", func(ctx context.Context) error { return w.ledger.Create(ctx, o.key, rec) })
	return rec, err
}

// stray ends a message on a due subject that no worker put there.
func (w *Worker) stray(ctx context.Context, d *delivery, why error) error {
	o := &order{raw: &ledger.Request{Subject: d.msg.Subject(), Header: d.msg.Headers(), Body: d.msg.Data()}, deliveries: d.deliveries}
	if producer, id, err := w.subjects.ParseOrder(d.msg.Subject()); err == nil {
		o.key = ledger.Key{Producer: producer, ID: id}
	}
	d.unrecorded = true
	return w.bury(ctx, d, o, deadletter.Undecodable, why)
}
