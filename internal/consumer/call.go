package consumer

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/throttle"
)

// searchMargin is how long before the submission a look-up begins, since clocks differ.
const searchMargin = 2 * time.Minute

// call makes the call of a decision and translates the answer for the machine. begun is when
// the decision was made.
func (h *handling) call(ctx context.Context, c *order.Call, permit *permit, begun stopwatch) order.Answer {
	// This covers a call that was not made, or that panicked. Only the first Done counts.
	defer permit.Done(throttle.None())
	switch c.Op {
	case order.OpEnroll:
		return h.enroll(ctx, permit, begun)
	case order.OpPoll:
		return h.poll(ctx, permit)
	case order.OpRevoke:
		return h.revoke(ctx, permit)
	}
	return h.lookUp(ctx, c, permit)
}

// notCalled is the answer to a call that was not made.
func notCalled(why error) order.Answer {
	return order.Answer{Word: order.NotAccepted, Error: &entrustbus.ResultError{Class: entrustbus.ClassOther, Code: "not_sent", Message: why.Error()}}
}

// notAnswered is the answer to a call that was not made, for an order that may have been
// submitted before.
func notAnswered(why error) order.Answer {
	return order.Answer{Word: order.NoAnswer, Error: &entrustbus.ResultError{Class: entrustbus.ClassOther, Code: order.CodeLostReply, Message: why.Error()}}
}

var errLeaseUsed = errors.New("the order lease was used up before the request was sent")

// stopwatch measures the time since an instant, including the time that the host sleeps.
type stopwatch struct {
	at   time.Time
	boot time.Duration
}

func startWatch() stopwatch { return stopwatch{time.Now(), sinceBoot()} }

func (s stopwatch) elapsed() time.Duration { return max(time.Since(s.at), sinceBoot()-s.boot) }

func (h *handling) enroll(ctx context.Context, permit *permit, begun stopwatch) order.Answer {
	w := h.w
	issue, ok := h.asked().Body.(*entrustbus.Issue)
	if !ok {
		return notCalled(fmt.Errorf("a %s request cannot be submitted", h.cur.Kind))
	}
	e, err := enrollmentOf(issue, h.cur.Record)
	if err == nil {
		e.Properties, err = w.cfg.Properties.with(h.key, h.cur.Record, issue)
	}
	if err == nil {
		err = w.profiles.missing(ctx, h.cur.CAID, h.cur.ProfileID, e.Properties)
	}
	if err != nil {
		return order.Answer{Word: order.Refused, Error: &entrustbus.ResultError{Class: entrustbus.ClassValidation, Code: order.CodeInvalid, Message: err.Error()}}
	}
	if csr, err := issue.CSR(); err == nil && csr.Verifiable() != nil {
		w.log.InfoContext(ctx, "passing on a certificate request whose signature this worker cannot verify",
			"producer", h.key.Producer, "order", h.key.ID, "why", csr.Verifiable().Error())
	}
	// The gateway has the whole EnrollTimeout after the last byte, and the lease must cover
	// that. This check detects any freeze of the process before.
	e.BeforeLastByte = func() error {
		if w.cfg.lease()-begun.elapsed() < w.cfg.EnrollTimeout {
			return errLeaseUsed
		}
		return nil
	}
	if err := e.BeforeLastByte(); err != nil {
		return notCalled(err)
	}
	call, cancel := context.WithTimeout(ctx, w.cfg.lease()-begun.elapsed())
	defer cancel()
	sent := time.Now()
	a, err := w.gw.Enroll(call, e)
	w.throttle.seen(ctx, permit, order.OpEnroll, sent, a.HTTPStatus, err)
	return h.answer(a, err)
}

func (h *handling) poll(ctx context.Context, permit *permit) order.Answer {
	w, r := h.w, h.cur.Record
	q := gateway.Poll{
		TrackingID: r.TrackingID, CAID: r.CAID, SubmittedAt: r.SubmittedAt,
		CSR: func() *x509.CertificateRequest {
			csr, _, err := csrOf(h.asked())
			if err != nil {
				return nil // the error is reported when the order ends
			}
			return csr
		},
		Search: func() (gateway.Search, bool) {
			csr, sans, err := csrOf(h.asked())
			since := r.SubmittedAt
			if since.IsZero() {
				// A track request has no submission time. Its order is at most MaxWaitLimit
				// older than the request.
				since = r.RequestedAt.Add(-w.cfg.MaxWaitLimit)
			}
			return gateway.Search{CSR: csr, SANs: sans, Since: since.Add(-searchMargin), Wait: h.betweenPages}, err == nil && csr != nil
		},
	}
	if !q.SubmittedAt.IsZero() {
		// The record holds the time before the call, which may have lasted up to EnrollTimeout.
		q.SubmittedAt = q.SubmittedAt.Add(w.cfg.EnrollTimeout)
	}
	begun := time.Now()
	a, err := w.gw.Poll(ctx, q)
	forbidden := w.throttle.seen(ctx, permit, order.OpPoll, begun, a.HTTPStatus, err)
	if err == nil {
		w.polls.saw(r.CAID, w.now())
	}
	out := h.answer(a, err)
	if forbidden {
		out.Word = order.Refused // this order alone is refused; as an outage it would wait for ever
	}
	out.OthersAnswered = !r.NoSince.IsZero() && w.polls.since(r.CAID, r.NoSince)
	return out
}

func (h *handling) revoke(ctx context.Context, permit *permit) order.Answer {
	q, ok := h.asked().Body.(*entrustbus.Revoke)
	var serial *big.Int
	err := fmt.Errorf("a %s request cannot be revoked", h.cur.Kind)
	if ok {
		serial, err = q.SerialNumber()
	}
	if err != nil {
		return order.Answer{Word: order.Refused, Error: &entrustbus.ResultError{Class: entrustbus.ClassValidation, Code: order.CodeInvalid, Message: err.Error()}}
	}
	begun := time.Now()
	r := gateway.Revocation{
		CAID: h.cur.CAID, Serial: serial, Reason: q.Reason, Comment: q.Comment, IssueCRL: q.IssueCRL || h.w.cfg.IssueCRL == CRLEach,
	}
	err = h.w.gw.Revoke(ctx, r)
	h.w.throttle.seen(ctx, permit, order.OpRevoke, begun, http.StatusOK, err)
	if err != nil {
		return failed(err)
	}
	if h.w.cfg.IssueCRL == CRLBulk && !r.IssueCRL {
		h.w.crls.add(r)
	}
	return order.Answer{Word: order.Revoked, Certificate: &order.Certificate{Serial: fmt.Sprintf("%x", serial), SerialDecimal: serial.String()}}
}

func (h *handling) lookUp(ctx context.Context, c *order.Call, permit *permit) order.Answer {
	w := h.w
	csr, sans, err := csrOf(h.asked())
	if err != nil {
		return order.Answer{Word: order.Unsearchable, Error: &entrustbus.ResultError{Class: entrustbus.ClassOther, Code: order.CodeLostReply, Message: err.Error()}}
	}
	begun := time.Now()
	a, found, err := w.gw.Find(ctx, gateway.Search{
		CAID: h.cur.CAID, CSR: csr, SANs: sans, Since: c.Since.Add(-searchMargin),
		Wait: h.betweenPages,
	})
	if errors.Is(err, gateway.ErrNoLookup) {
		return order.Answer{Word: order.Unsearchable, Error: h.cur.Cause}
	}
	if forbidden := w.throttle.seen(ctx, permit, order.OpLookUp, begun, http.StatusOK, err); forbidden {
		return order.Answer{Word: order.Unsearchable, Error: errorOf(err)}
	}
	if err == nil && !found {
		return order.Answer{Word: order.NoMatch}
	}
	return h.answer(a, err)
}

// betweenPages waits before the next page of a look-up, which is a call of its own.
func (h *handling) betweenPages(ctx context.Context, throttled error) error {
	return h.w.nextPage(ctx, throttled)
}

// Turn waits until the worker may make a call that belongs to no order, for example for
// certificate events. It waits for the look-ups' breaker, for a pause, and for the rate.
// throttled is the error of the call before, or nil. Turn returns that error when the gateway
// asks for a long pause.
func (w *Worker) Turn(ctx context.Context, throttled error) error {
	if throttled == nil {
		if err := w.throttle.breakers.Wait(ctx, "", throttle.Lookup); err != nil {
			return err
		}
	}
	return w.nextPage(ctx, throttled)
}

func (w *Worker) nextPage(ctx context.Context, throttled error) error {
	t := w.throttle
	if wait := pauseOf(throttled); wait > 0 {
		t.askedToPause(ctx, wait, throttled)
		if t.stops.PauseLeft() > w.cfg.lease() {
			return throttled // the order waits in a wake-up for that long
		}
		if err := t.stops.WaitPause(ctx); err != nil {
			return err
		}
	}
	return t.rate.Wait(ctx, throttle.ForPoll)
}

// answer translates the gateway's answer for the machine.
func (h *handling) answer(a gateway.Answer, err error) order.Answer {
	if err != nil {
		return failed(err)
	}
	out := order.Answer{TrackingID: a.TrackingID, Status: a.Status, RetryAfter: a.RetryAfter}
	switch a.State {
	case gateway.Issued:
		return h.checked(a, out)
	case gateway.Pending:
		out.Word = order.Pending
	default:
		out.Word = order.Declined
		out.Error = &entrustbus.ResultError{Class: entrustbus.ClassOther, Code: a.Code, Message: a.Message, HTTPStatus: a.HTTPStatus}
		if out.Error.Code == "" {
			out.Error.Code = a.Status
		}
		if out.Error.Code == "" {
			out.Error.Code = "rejected"
		}
		if out.Error.Message == "" {
			out.Error.Message = "the gateway rejected the order"
		}
	}
	return out
}

// failed translates a failed call for the machine.
func failed(err error) order.Answer {
	out := order.Answer{Error: errorOf(err)}
	if e, ok := errors.AsType[*gateway.Error](err); ok {
		out.RetryAfter, out.Written = e.RetryAfter, e.Written || e.Op == gateway.OpRevoke && e.HTTPStatus != 0
		out.TrackingID = e.TrackingID
	}
	switch gateway.FateOf(err) {
	case gateway.Refused:
		out.Word = order.Refused
	case gateway.NotFound:
		out.Word = order.NotFound
	case gateway.NotAccepted, gateway.Throttled, gateway.Unauthorized:
		out.Word = order.NotAccepted
	case gateway.Unreadable:
		out.Word = order.Malformed
	default:
		out.Word = order.NoAnswer
	}
	return out
}

// checked checks the certificate that the gateway issued.
func (h *handling) checked(a gateway.Answer, out order.Answer) order.Answer {
	want, err := expectationOf(h.asked(), h.w.now())
	if err != nil {
		out.Word = order.Issued // the machine finds that the request cannot be read
		return out
	}
	cert, err := gateway.CheckIssued(a, want)
	if err == nil {
		out.Word = order.Issued
		out.Certificate = &order.Certificate{
			PEM: armour(cert.Raw), ChainPEM: armour(a.Chain...),
			Serial: fmt.Sprintf("%x", cert.SerialNumber), SerialDecimal: cert.SerialNumber.String(),
			NotBefore: cert.NotBefore, NotAfter: cert.NotAfter, Warnings: a.Warnings,
		}
		return out
	}
	if h.cur.Kind == entrustbus.KindTrack && !want.AnyKey {
		// A valid certificate for another CSR is no reason to revoke it.
		if _, other := gateway.CheckIssued(a, gateway.Expectation{AnyKey: true, Now: want.Now}); other == nil {
			out.Word = order.WrongCSR
			out.Error = &entrustbus.ResultError{Class: entrustbus.ClassValidation, Code: "wrong_csr", Message: "the certificate is not for this CSR"}
			return out
		}
	}
	out.Word = order.Wrong
	out.Error = &entrustbus.ResultError{Class: entrustbus.ClassOther, Code: "wrong_certificate", Message: err.Error()}
	if m, ok := errors.AsType[*gateway.MismatchError](err); ok {
		out.Serial = m.Serial
	}
	return out
}

// errorOf builds the error for a producer: status, code and a bounded message of the gateway,
// never its details.
func errorOf(err error) *entrustbus.ResultError {
	if e, ok := errors.AsType[*gateway.Error](err); ok {
		return &entrustbus.ResultError{Class: entrustbus.Class(e.Class), Code: e.Code, Message: e.Message, HTTPStatus: e.HTTPStatus}
	}
	return &entrustbus.ResultError{Class: entrustbus.ClassOther, Message: err.Error()}
}

// csrOf returns the certificate request of an order and the requested names. The request is nil
// for a track request without one.
func csrOf(q *order.Request) (csr *x509.CertificateRequest, sans []gateway.SAN, err error) {
	if q == nil {
		return nil, nil, errors.New("neither the record nor the wake-up holds the request")
	}
	switch b := q.Body.(type) {
	case *entrustbus.Issue:
		if csr, err = b.CertificateRequest(); err == nil {
			sans, err = b.Names()
		}
	case *entrustbus.Track:
		csr, err = b.CertificateRequest()
	default:
		err = q.Problem
	}
	return csr, sans, err
}

// expectationOf says which certificate may be published as issued. now is an instant of the
// server's clock: the host's clock may be years wrong. Without a CSR, a track request allows a
// check of form and validity only.
func expectationOf(q *order.Request, now time.Time) (gateway.Expectation, error) {
	want := gateway.Expectation{Now: now}
	csr, sans, err := csrOf(q)
	if err != nil {
		return want, fmt.Errorf("reading the order's request: %w", err)
	}
	if want.AnyKey = csr == nil; csr != nil {
		want.SPKI = csr.RawSubjectPublicKeyInfo
	}
	if issue, ok := q.Body.(*entrustbus.Issue); ok {
		want.SANs, want.MaxValidity = sans, time.Duration(issue.MaxValiditySeconds)*time.Second
		if period, err := entrustbus.ParsePeriod(issue.ValidityPeriod); err == nil {
			want.From = period.Begins()
		}
		if issue.SubjectDN == "" && len(issue.SubjectVariables) == 0 {
			want.CommonName = csr.Subject.CommonName
		}
	}
	return want, nil
}

// targetOf is the id of the order that a cancellation names.
func targetOf(q *order.Request) string {
	if c, ok := q.Body.(*entrustbus.Cancel); ok {
		return c.Order
	}
	return ""
}

// armour encodes DER certificates as PEM, one after the other. encoding/pem would allocate
// three times as much as it writes, a seventh of all allocations of an order.
func armour(certificates ...[]byte) string {
	const begin, end, line = "-----BEGIN CERTIFICATE-----\n", "-----END CERTIFICATE-----\n", 48
	size := 0
	for _, der := range certificates {
		size += len(begin) + len(end) + base64.StdEncoding.EncodedLen(len(der)) + len(der)/line + 1
	}
	b := make([]byte, 0, size)
	for _, der := range certificates {
		b = append(b, begin...)
		for part := range slices.Chunk(der, line) {
			b = append(base64.StdEncoding.AppendEncode(b, part), '\n')
		}
		b = append(b, end...)
	}
	return string(b)
}

// answeredPolls keeps the time of the last good answer to a poll, by CA. It is bounded, since a
// request may name any CA. It is safe for concurrent use.
type answeredPolls struct {
	mu   sync.Mutex
	last map[string]time.Time
}

const maxPolledCAs = 256

func (p *answeredPolls) saw(ca string, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == nil || len(p.last) > maxPolledCAs {
		p.last = map[string]time.Time{}
	}
	p.last[ca] = at
}

func (p *answeredPolls) since(ca string, t time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last[ca].After(t)
}
