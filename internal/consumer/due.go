package consumer

import (
	"context"
	"crypto/x509"
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
	if err := w.gate.pass(ctx, forPoll); err != nil {
		return err
	}
	rec, err := w.ledger.Get(ctx, o.key)
	if errors.Is(err, ledger.ErrNoRecord) {
		rec, err = w.restore(ctx, o, slot)
	}
	if err != nil {
		return err
	}
	if rec == nil || rec.State == ledger.Closed || rec.Replay != slot.Replay {
		w.log.DebugContext(ctx, "a wake-up of an order that does not wait", o.logArgs()...)
		return nil
	}
	o.rec, o.requestedAt = rec, rec.RequestedAt
	if rec.Request != nil {
		o.raw = rec.Request
	}
	if !rec.Awaits() {
		return w.again(ctx, o)
	}
	if d.deliveries > 1 || !w.link.since(slot.Due) {
		// Whoever had it before may be, or have died, between the result and the ledger.
		if done, err := w.published(ctx, o); err != nil || done {
			return err
		}
	}
	// The server fires by its own clock: with ours behind it, the order would be
	// parked again at a deadline that has passed there, and woken at once.
	o.last = !slot.Due.Before(rec.Deadline)
	w.metrics.poll(max(0, time.Since(slot.Due)))
	return w.poll(ctx, o)
}

// again goes on with an issue request that was set aside, or that a worker took
// up after that and died over: the slot is all that brings it back.
func (w *Worker) again(ctx context.Context, o *order) error {
	if err := w.read(o); err != nil {
		return w.unreadable(ctx, o, err)
	}
	q, ok := o.request.(*entrustbus.Issue)
	if !ok {
		return w.unreadable(ctx, o, fmt.Errorf("a %s request is never set aside", o.kind))
	}
	enrollment, err := enrollmentOf(q)
	if err != nil {
		return w.unreadable(ctx, o, err)
	}
	first := w.firstRecord(o, true)
	first.Message, o.slotted = o.rec.Message, true
	verdict, err := w.takeOver(ctx, o, first)
	if err != nil {
		return err
	}
	return w.proceed(ctx, o, q, enrollment, verdict)
}

// poll asks the gateway once what became of a parked order. The request is
// decoded only where its order ends: most polls find it waiting.
func (w *Worker) poll(ctx context.Context, o *order) error {
	question := gateway.Poll{
		TrackingID: o.rec.TrackingID, CAID: o.rec.CAID, SubmittedAt: o.rec.SubmittedAt,
		CSR: func() *x509.CertificateRequest { return w.csrOf(o) },
	}
	if !question.SubmittedAt.IsZero() {
		// The ledger has the time before the call, and a slow one may have lasted so long.
		question.SubmittedAt = question.SubmittedAt.Add(w.cfg.EnrollTimeout)
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
			// Only a poll made at or after the deadline was the last one.
			last := o.last || !begun.Before(o.rec.Deadline)
			if answer.State == gateway.Pending && !last {
				w.log.DebugContext(ctx, "polled", o.logArgs("attempt", o.polls, "outcome", answer.Status)...)
				return w.park(ctx, o, answer.RetryAfter)
			}
			if err := w.recall(o); err != nil {
				return w.unreadable(ctx, o, err)
			}
			switch answer.State {
			case gateway.Issued:
				return w.issued(ctx, o, answer)
			case gateway.Rejected:
				return w.rejected(ctx, o, answer)
			}
			return w.expired(ctx, o, "")
		case gateway.NotAccepted, gateway.Throttled, gateway.Unauthorized:
			// The gateway was not asked, so this was no poll: wait, and ask.
			if refusals++; refusals >= patience(err) {
				return w.pollAgain(ctx, o, err)
			}
			if err := sleep(ctx, pause.next()); err != nil {
				return err
			}
			if err := w.gate.pass(ctx, forPoll); err != nil {
				return err
			}
			if waits, err := w.stillWaits(ctx, o); err != nil || !waits {
				return err
			}
		case gateway.Refused, gateway.NotFound:
			o.polls++
			return w.disowned(ctx, o, err)
		default: // no answer, or one that says nothing
			o.polls++
			w.log.WarnContext(ctx, "polling; asking again", o.logArgs("attempt", o.polls, "err", err)...)
			return w.pollAgain(ctx, o, err)
		}
	}
}

// recall decodes the request of an order in hand, once.
func (w *Worker) recall(o *order) error {
	if o.request != nil {
		return nil
	}
	return w.read(o)
}

// csrOf returns the certificate request of an order, nil where there is none.
func (w *Worker) csrOf(o *order) *x509.CertificateRequest {
	if w.recall(o) != nil {
		return nil // told where the order ends
	}
	var csr *x509.CertificateRequest
	switch q := o.request.(type) {
	case *entrustbus.Issue:
		csr, _ = q.CertificateRequest() // read a moment ago
	case *entrustbus.Track:
		csr, _ = q.CertificateRequest()
	}
	return csr
}

// unreadable ends an order that waits and whose request cannot be decoded. It
// was before it was parked, so the gateway may have it: a newer worker reads
// more strictly, or somebody changed the slot.
func (w *Worker) unreadable(ctx context.Context, o *order, why error) error {
	o.request = nil
	return w.hold(ctx, o, "invalid_request", why.Error())
}

// disowned ends an order of which the gateway, asked for it, wants to know
// nothing. It took the order before, so its fate is unknown, and not the word
// of one poll: a replay asks again, and never submits.
func (w *Worker) disowned(ctx context.Context, o *order, why error) error {
	if err := w.recall(o); err != nil {
		return w.unreadable(ctx, o, err)
	}
	r := o.result(entrustbus.OutcomeUnconfirmed, &w.cfg)
	r.Error = errorOf(why)
	return w.finish(ctx, o, r, deadletter.Unconfirmed, r.Error.Message)
}

// stillWaits reads the ledger again after a wait in which another worker may have
// got the message.
func (w *Worker) stillWaits(ctx context.Context, o *order) (bool, error) {
	rec, err := w.ledger.Get(ctx, o.key)
	if err != nil {
		return false, err
	}
	if !rec.Awaits() || rec.Replay != o.replay {
		return false, nil
	}
	o.rec = rec
	return true, nil
}

// lastPolls is how many polls at or after the deadline the gateway gets to leave
// without an answer before their order expires. The waits between them are those
// of the schedule: more than three minutes in all by default.
const lastPolls = 5

// pollAgain parks an order whose poll told nothing. The deadline stands, but an
// order does not expire on a question that was not answered, and never on one
// that was not asked: the outage it waited through is not its fault.
func (w *Worker) pollAgain(ctx context.Context, o *order, why error) error {
	if !o.last && time.Now().Before(o.rec.Deadline) {
		var retryAfter time.Duration
		if e, ok := errors.AsType[*gateway.Error](why); ok {
			retryAfter = e.RetryAfter
		}
		return w.park(ctx, o, retryAfter)
	}
	switch gateway.FateOf(why) {
	case gateway.NotAccepted, gateway.Throttled, gateway.Unauthorized:
		return w.armAt(ctx, o, o.polls, time.Now().Add(w.cfg.Schedule.Wait(2)))
	}
	if o.rec.Tries++; o.rec.Tries >= lastPolls {
		if err := w.recall(o); err != nil {
			return w.unreadable(ctx, o, err)
		}
		return w.expired(ctx, o, "; the last poll was not answered")
	}
	if err := w.update(ctx, o, "counting a last poll"); err != nil {
		return err
	}
	return w.armAt(ctx, o, o.polls, time.Now().Add(w.cfg.Schedule.Wait(o.rec.Tries-1)))
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
func (w *Worker) expired(ctx context.Context, o *order, more string) error {
	w.metrics.expired()
	why := fmt.Sprintf("no approval before the deadline %s%s", o.rec.Deadline.Format(time.RFC3339), more)
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
		State: ledger.Parked, Kind: slot.Kind, Digest: o.digest, Replay: slot.Replay, TrackingID: slot.TrackingID, CAID: caOf(o.request),
		Deadline: slot.Deadline, RequestedAt: time.Now().UTC(), Submissions: 1, Request: slot.Request,
		// What was set aside may have been submitted: the record that knew is gone.
		Posting: slot.TrackingID == "",
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
