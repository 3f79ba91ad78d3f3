package consumer

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/parking"
)

// lostReply is the code of a result whose order has an unknown fate.
const lostReply = "lost_reply"

// issue handles an issue request.
func (w *Worker) issue(ctx context.Context, d *delivery, o *order, q *entrustbus.Issue) error {
	enrollment, err := enrollmentOf(q)
	if err != nil {
		return w.refuse(ctx, d, o, err)
	}
	// The gate comes before the ledger: what waits for the gateway has no
	// record that says it may have been submitted.
	if err := w.gate.pass(ctx, forRequest); err != nil {
		return err
	}
	if !d.held() {
		return later(0, errors.New("the message was given to somebody else while it waited"))
	}
	first := w.firstRecord(o, true)
	verdict, err := w.claim(ctx, d, o, first)
	if err != nil {
		return err
	}
	return w.proceed(ctx, o, q, enrollment, verdict)
}

// proceed does what the ledger says of an issue request in hand.
func (w *Worker) proceed(ctx context.Context, o *order, q *entrustbus.Issue, e gateway.Enrollment, v verdict) error {
	switch v {
	case settled:
		return nil
	case resume:
		return w.await(ctx, o, o.rec.TrackingID, q.PollMaxWaitSeconds, 0)
	case unconfirmed:
		return w.reconcile(ctx, o, e, cmp.Or(o.rec.FateCode, lostReply),
			cmp.Or(o.rec.FateWhy, "a worker ended before it saw the gateway's answer"))
	}
	return w.submit(ctx, o, e)
}

// submit calls the gateway, and again as long as it provably did not take the
// order. The record says Posting on entry, and whenever a call may be under way.
func (w *Worker) submit(ctx context.Context, o *order, e gateway.Enrollment) error {
	pause := backoff{first: 200 * time.Millisecond, max: 5 * time.Second}
	for refusals := 0; ; {
		// A slow write may have used up the lease that covers the call.
		if time.Until(o.rec.Lease) < w.cfg.EnrollTimeout {
			first := w.firstRecord(o, true)
			o.rec.Lease, o.rec.SubmittedAt = first.Lease, first.SubmittedAt
			if err := w.update(ctx, o, "renewing a lease"); err != nil {
				return err
			}
		}
		call, cancel := context.WithDeadline(ctx, o.rec.Lease)
		begun := time.Now()
		answer, err := w.gw.Enroll(call, e)
		cancel()
		edge("answered")
		w.observe(ctx, "enroll", begun, answer.HTTPStatus, err)
		switch gateway.FateOf(err) {
		case 0:
			return w.enrolled(ctx, o, answer)
		case gateway.Refused, gateway.NotFound:
			return w.refused(ctx, o, err)
		case gateway.NotAccepted, gateway.Throttled, gateway.Unauthorized:
			o.rec.Posting, o.rec.Request = false, o.raw // the request, for who may cancel it
			if refusals++; refusals >= patience(err) {
				return w.orRelease(ctx, o, w.setAside(ctx, o, err))
			}
			if err := w.wait(ctx, o, pause.next()); err != nil {
				return err
			}
		default:
			if gateway.FateOf(err) == gateway.Unreadable {
				return w.reconcile(ctx, o, e, "unreadable_answer", err.Error())
			}
			return w.reconcile(ctx, o, e, lostReply, err.Error())
		}
	}
}

// wait records that the gateway did not take the order, waits at the gate, and
// records that another call begins. A death in between finds no call under way.
func (w *Worker) wait(ctx context.Context, o *order, pause time.Duration) error {
	if err := w.update(ctx, o, "recording that the gateway did not take an order"); err != nil {
		return w.orRelease(ctx, o, err)
	}
	edge("not-taken")
	err := sleep(ctx, pause)
	if err == nil {
		err = w.gate.pass(ctx, forRequest)
	}
	if err != nil {
		return w.release(ctx, o, err)
	}
	first := w.firstRecord(o, true)
	return w.begin(ctx, o, first)
}

// release ends the lease of an order that goes back to the stream, so that
// nobody has to wait for it.
func (w *Worker) release(ctx context.Context, o *order, why error) error {
	o.rec.Worker, o.rec.Lease = "", time.Time{}
	if err := w.lastUpdate(ctx, o); err != nil {
		w.log.DebugContext(ctx, "releasing an order; its lease ends by itself", o.logArgs("err", err)...)
	}
	return why
}

// orRelease releases an order where a stop ended a write: of one that the gateway did
// not take the record would say that its fate is unknown, and of one whose fate is
// unknown not how that came.
func (w *Worker) orRelease(ctx context.Context, o *order, err error) error {
	if err == nil || ctx.Err() == nil || errors.Is(err, ledger.ErrConflict) {
		return err
	}
	return w.release(ctx, o, err)
}

// lastUpdate writes the order's record once more where a stop ended all other tries.
func (w *Worker) lastUpdate(ctx context.Context, o *order) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ackTimeout)
	defer cancel()
	return w.ledger.Update(ctx, o.rec)
}

// setAside has an order wait that the gateway does not take although it takes
// others, so that it keeps no slot of the lane.
func (w *Worker) setAside(ctx context.Context, o *order, why error) error {
	o.rec.Posting = false
	o.rec.Tries++
	wait := w.cfg.Schedule.Wait(o.rec.Tries)
	w.log.WarnContext(ctx, "the gateway does not take this order; it waits", o.logArgs("attempt", o.rec.Tries, "wait", wait, "err", why)...)
	return w.shelve(ctx, o, wait)
}

// shelve parks an order for a while that is not the gateway's yet, or not known
// to be: with the message handed back instead, a few thousand of them would be
// all that the server lets a lane have unacknowledged.
func (w *Worker) shelve(ctx context.Context, o *order, wait time.Duration) error {
	r := o.rec
	r.State, r.Request, r.CAID = ledger.Parked, o.raw, caOf(o.request)
	r.Worker, r.Lease, r.Deadline = "", time.Time{}, time.Time{}
	if err := w.update(ctx, o, "setting an order aside"); err != nil {
		return err
	}
	edge("shelved")
	return w.armAt(ctx, o, 0, time.Now().Add(wait))
}

// enrolled handles the gateway's answer to a submission.
func (w *Worker) enrolled(ctx context.Context, o *order, a gateway.Answer) error {
	switch a.State {
	case gateway.Issued:
		o.rec.TrackingID = a.TrackingID
		return w.issued(ctx, o, a)
	case gateway.Rejected:
		o.rec.TrackingID = a.TrackingID
		return w.rejected(ctx, o, a)
	default:
		q := o.request.(*entrustbus.Issue)
		return w.await(ctx, o, a.TrackingID, q.PollMaxWaitSeconds, a.RetryAfter)
	}
}

// await parks an order that the gateway has. The ledger is written first: from
// then on a death costs at most the slot, which the redelivered request, or the
// watchdog, arms again.
func (w *Worker) await(ctx context.Context, o *order, trackingID string, waitSeconds int64, retryAfter time.Duration) error {
	now := time.Now().UTC()
	r := o.rec
	r.State, r.TrackingID, r.Request, r.CAID = ledger.Parked, trackingID, o.raw, caOf(o.request)
	r.Tries, r.FateCode, r.FateWhy = 0, "", ""
	r.Worker, r.Lease, r.Posting = "", time.Time{}, false
	r.Deadline = now.Add(cmp.Or(time.Duration(waitSeconds)*time.Second, w.cfg.MaxWait))
	err := w.update(ctx, o, "recording that an order is parked")
	if err != nil && ctx.Err() != nil && !errors.Is(err, ledger.ErrConflict) {
		// The gateway's name of the order must not be lost with this process.
		if last := w.lastUpdate(ctx, o); last == nil {
			return err // the next delivery arms its slot
		}
	}
	if err != nil {
		w.log.ErrorContext(ctx, "an accepted order could not be recorded", o.logArgs("err", err)...)
		return err
	}
	edge("parked")
	if err := w.arm(ctx, o, 0, retryAfter); err != nil {
		return err
	}
	w.metrics.parked()
	return nil
}

// arm gives the order a slot for its next poll, after attempt polls.
func (w *Worker) arm(ctx context.Context, o *order, attempt int, retryAfter time.Duration) error {
	return w.armAt(ctx, o, attempt, w.wakeAt(o.rec, attempt, retryAfter))
}

// wakeAt is when a parked order is to be woken up. One that was set aside has no
// deadline.
func (w *Worker) wakeAt(rec *ledger.Record, attempt int, retryAfter time.Duration) time.Time {
	now := time.Now().UTC()
	if !rec.Awaits() {
		return now.Add(w.cfg.Schedule.Wait(attempt))
	}
	at, _ := w.cfg.Schedule.NextAt(attempt, now, rec.Deadline, retryAfter, rand.Float64())
	return at
}

// armAt gives the order a slot.
func (w *Worker) armAt(ctx context.Context, o *order, attempt int, at time.Time) error {
	slot := &parking.Slot{
		Key: o.key, Kind: o.kind, Due: at.UTC(), Deadline: o.rec.Deadline, Attempt: attempt,
		TrackingID: o.rec.TrackingID, Replay: o.rec.Replay, Request: o.raw,
	}
	if err := w.persist(ctx, "parking an order", func(ctx context.Context) error { return w.lot.Arm(ctx, slot) }); err != nil {
		return err
	}
	edge("armed")
	level := slog.LevelInfo
	if attempt > 0 {
		level = slog.LevelDebug // each poll of each order that waits would be a line
	}
	w.log.Log(ctx, level, "parked", o.logArgs("attempt", attempt, "wait", time.Until(at).Round(time.Millisecond))...)
	return nil
}

// issued checks what the gateway issued and ends the order with it.
func (w *Worker) issued(ctx context.Context, o *order, a gateway.Answer) error {
	want, err := expectationOf(o.request)
	if err != nil {
		return err
	}
	cert, err := gateway.CheckIssued(a, want)
	if err != nil && otherCSR(o, a, want) {
		return w.finish(ctx, o, o.failed(&w.cfg, entrustbus.ClassValidation, "wrong_csr", notForCSR), deadletter.Invalid, notForCSR)
	}
	if err != nil {
		serial := ""
		if m, ok := errors.AsType[*gateway.MismatchError](err); ok {
			serial = m.Serial
		}
		w.log.ErrorContext(ctx, "the gateway issued a wrong certificate: revoke it", o.logArgs("serial", serial, "err", err)...)
		r := o.failed(&w.cfg, entrustbus.ClassOther, "wrong_certificate", err.Error())
		r.Serial = serial
		return w.finish(ctx, o, r, deadletter.WrongCertificate, err.Error())
	}
	r := o.result(entrustbus.OutcomeIssued, &w.cfg)
	describe(r, cert, a.Chain)
	return w.finish(ctx, o, r, "", "")
}

const notForCSR = "the certificate is not for this CSR"

// otherCSR reports whether a certificate that is not as wanted is a good one all the same,
// of an order that somebody asked for with the wrong CSR: no reason to revoke it.
func otherCSR(o *order, a gateway.Answer, want gateway.Expectation) bool {
	if o.kind != entrustbus.KindTrack || want.AnyKey {
		return false
	}
	_, err := gateway.CheckIssued(a, gateway.Expectation{AnyKey: true, Now: want.Now})
	return err == nil
}

// rejected ends an order that an approver, or the CA, declined.
func (w *Worker) rejected(ctx context.Context, o *order, a gateway.Answer) error {
	r := o.result(entrustbus.OutcomeRejected, &w.cfg)
	r.Error = &entrustbus.ResultError{
		Class: entrustbus.ClassOther, Code: cmp.Or(a.Code, a.Status, "rejected"),
		Message: cmp.Or(a.Message, "the gateway rejected the order"), HTTPStatus: a.HTTPStatus,
	}
	return w.finish(ctx, o, r, deadletter.Rejected, r.Error.Message)
}

// refused ends an order that the gateway refused for good.
func (w *Worker) refused(ctx context.Context, o *order, err error) error {
	r := o.result(entrustbus.OutcomeFailed, &w.cfg)
	r.Error = errorOf(err)
	return w.finish(ctx, o, r, deadletter.Rejected, err.Error())
}

// observe tells the gate, the fleet and the metrics how a call ended. status is
// the HTTP status of a call without an error. It reports whether the gateway
// refuses our credentials for this call alone.
func (w *Worker) observe(ctx context.Context, operation string, begun time.Time, status int, err error) (only bool) {
	e, failed := errors.AsType[*gateway.Error](err)
	if failed {
		status = e.HTTPStatus
	}
	w.metrics.call(operation, status, time.Since(begun))
	if err != nil && errors.Is(context.Cause(ctx), errStopping) {
		return false // cut off by our own stop: that says nothing of the gateway
	}
	if only = failed && w.refusedAlone(ctx, e); !only {
		w.gate.report(err)
	}
	if failed {
		w.metrics.gatewayError(e.Class)
		if wait := pauseOf(e); wait > 0 {
			w.pause(ctx, wait, e)
		}
	}
	return only
}

// refusedAlone reports whether a 403 is about what was asked for, a profile or a
// right that the client does not have, and not about the client: then the gateway
// answers the prober's question, which decides about the gate.
func (w *Worker) refusedAlone(ctx context.Context, e *gateway.Error) bool {
	if e.Fate != gateway.Unauthorized || e.HTTPStatus != http.StatusForbidden || !w.gate.open() {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	return w.gw.Probe(ctx) == nil
}

// pause keeps the fleet from calling the gateway for a while, as it asked for.
func (w *Worker) pause(ctx context.Context, wait time.Duration, why error) {
	w.log.WarnContext(ctx, "the gateway asked for a pause", "wait", wait, "err", why)
	if err := w.fleet.hold(ctx, wait); err != nil {
		w.log.WarnContext(ctx, "only this worker pauses", "err", err)
	}
}

// caOf is the CA that a request names, "" where it names none.
func caOf(r entrustbus.Request) string {
	switch q := r.(type) {
	case *entrustbus.Issue:
		return q.CAID
	case *entrustbus.Track:
		return q.CAID
	case *entrustbus.Revoke:
		return q.CAID
	}
	return ""
}

// enrollmentOf makes the gateway's enrollment of a request.
func enrollmentOf(q *entrustbus.Issue) (gateway.Enrollment, error) {
	csr, err := q.CertificateRequest()
	if err != nil {
		return gateway.Enrollment{}, err
	}
	e := gateway.Enrollment{
		CAID: q.CAID, ProfileID: q.ProfileID, CSR: csr, SubjectDN: q.SubjectDN,
		Validity: time.Duration(q.ValiditySeconds) * time.Second,
	}
	e.SANs, err = q.Names()
	return e, err
}

// expectationOf says what a certificate must be to be published as issued. A
// track request without a CSR can only be held to form and validity.
func expectationOf(r entrustbus.Request) (gateway.Expectation, error) {
	want := gateway.Expectation{Now: time.Now()}
	var csr *x509.CertificateRequest
	var err error
	switch q := r.(type) {
	case *entrustbus.Issue:
		if csr, err = q.CertificateRequest(); err == nil {
			want.SANs, err = q.Names()
			if q.SubjectDN == "" {
				want.CommonName = csr.Subject.CommonName
			}
		}
	case *entrustbus.Track:
		csr, err = q.CertificateRequest()
	}
	if err != nil {
		return want, fmt.Errorf("reading what was asked for: %w", err)
	}
	if want.AnyKey = csr == nil; csr != nil {
		want.SPKI = csr.RawSubjectPublicKeyInfo
	}
	return want, nil
}
