package gateway

import (
	"context"
	"crypto/x509"
	"errors"
	"math/big"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus/san"
)

// State is the state of an enrollment in an Answer.
type State int

const (
	// Issued: the answer holds a certificate, still to be checked with CheckIssued.
	Issued State = iota + 1
	// Pending: the order waits; ask again with Poll.
	Pending
	// Rejected: the gateway ended the order without a certificate.
	Rejected
)

// String returns the state in lower case.
func (s State) String() string {
	switch s {
	case Issued:
		return "issued"
	case Pending:
		return "pending"
	case Rejected:
		return "rejected"
	}
	return "no state"
}

// Enrollment is a request for a certificate.
type Enrollment struct {
	// CAID and ProfileID name the CA and profile; empty: the configured ones.
	CAID, ProfileID string
	// CSR is the request as it was parsed; its signature is taken as verified.
	CSR *x509.CertificateRequest
	// SubjectDN is the subject as RFC 2253 text, or in OpenSSL's form with slashes; empty:
	// that of the CSR, or none where there are SubjectVariables. Not sent in the certctl
	// dialect.
	SubjectDN string
	// OmitSubject asks for a certificate without naming a subject.
	OmitSubject bool
	// SubjectVariables, Properties and Extensions are passed on. An enrollment that has any
	// is Refused in the certctl dialect, which has no place for them. A property is a
	// string, a number, a bool, or a list of them.
	SubjectVariables []SubjectVariable
	Properties       map[string]any
	Extensions       []Extension
	// SANs are the names to request; nil: those of the CSR. The certctl dialect sends
	// every name with a text as a dNSName.
	SANs []SAN
	// Validity is how long the certificate shall be valid, in whole seconds; 0: as
	// the profile says. Not sent in the certctl dialect.
	Validity time.Duration
	// Period is the same as a duration or interval of ISO 8601, sent as it is in place of
	// Validity; empty: none. An enrollment that has one is Refused in the certctl dialect.
	Period string
	// MaxValidity caps the validity where neither Validity nor Period asks for one; 0: no
	// cap. It is asked for unless the profile is known to give no more: by
	// Config.ProfileValidity, or by the last certificate that it gave unasked. In the certctl
	// dialect, which cannot ask, an enrollment is Refused where the profile is known to give
	// more. Expectation.MaxValidity checks what was issued.
	MaxValidity time.Duration
	// BeforeLastByte runs on a goroutine of the transport immediately before the last byte
	// of the request's body is handed to it; nil: nothing runs. The place for a check that
	// the caller may still enroll. Where it returns an error, the request is abandoned, the
	// gateway never gets all of it, and Enroll's error has the fate NotAccepted and wraps
	// that error. It runs again where the request is begun again, because its connection
	// broke before it was written to its end. EnrollTimeout covers it.
	//
	// What stays open is a freeze of the process or host after the check returned: the byte
	// is written when it ends, however long it was. The same holds for a snapshot of the
	// host that is restored at that point.
	BeforeLastByte func() error
}

// Poll asks after a pending enrollment.
type Poll struct {
	// CAID names the CA; empty: the configured one.
	CAID string
	// TrackingID is Answer.TrackingID of the enrollment.
	TrackingID string
	// SubmittedAt is when the enrollment was sent. It begins Config.NotFoundGrace;
	// the zero time is long ago.
	SubmittedAt time.Time
	// CSR, if not nil, returns the request that was submitted, or nil. It tells the
	// issued certificate from others in the same answer, and is called only when an
	// answer holds one: parsing a request costs more than a poll.
	CSR func() *x509.CertificateRequest
	// Search, if not nil, returns what to look for in the certificate events where those
	// are asked, or false where the order cannot be known there. See PollMode.
	Search func() (Search, bool)
}

// Answer is what the gateway said about an enrollment.
type Answer struct {
	State State
	// TrackingID is the gateway's id of the order, if it gave one.
	TrackingID string
	// Status is the gateway's own word, at most 64 characters; it decides nothing.
	Status string
	// Certificate is the issued certificate's DER. It was not checked: CheckIssued
	// says whether it is the one that was asked for.
	Certificate []byte
	// Chain is the DER of the certificates above, the issuer first: those that the gateway
	// gave, or its CA's resource, of which each signed the one below it and is in force.
	// Empty where there are none (see Stats.ChainFailures).
	Chain [][]byte
	// Warnings say what was left out of Chain, one line each.
	Warnings []string
	// HTTPStatus is the status of the answer.
	HTTPStatus int
	// RetryAfter is when the gateway wants to be asked again; 0: it does not say.
	RetryAfter time.Duration
	// Code and Message are the gateway's reason for Rejected, bounded and cleaned.
	Code, Message string

	// What was parsed on the way here, so that CheckIssued need not do it again.
	leaf    *x509.Certificate
	foreign bool // no success, and not in the gateway's own words
}

// Enroll submits an enrollment, once: it writes at most one whole request, which
// Error.Written tells. The error is an *Error; with any Fate but Unknown and Unreadable
// the gateway did not take the order.
func (c *Client) Enroll(ctx context.Context, e Enrollment) (Answer, error) {
	if e.CAID == "" {
		e.CAID = c.cfg.CAID
	}
	if e.ProfileID == "" {
		e.ProfileID = c.cfg.ProfileID
	}
	if err := e.check(); err != nil {
		return Answer{}, err
	}
	d, err := c.dialect(ctx, OpEnroll)
	if err != nil {
		return Answer{}, err
	}
	if d.name() == DialectCAGW && e.ProfileID == "" {
		return Answer{}, invalid(OpEnroll, "profile_id", "is needed by the CA Gateway, and none is configured")
	}
	if what := e.beyondCertctl(); what != "" && d.name() == DialectCertctl {
		return Answer{}, invalid(OpEnroll, what, "cannot be asked for in the certctl dialect")
	}
	given, known := c.lives.of(e.CAID, e.ProfileID)
	if e.MaxValidity > 0 && e.Validity == 0 && e.Period == "" && (!known || longerThan(given, e.MaxValidity)) {
		if d.name() == DialectCertctl && known {
			return Answer{}, invalid(OpEnroll, "max_validity_seconds", "the profile gives certificates of "+given.String()+", and the certctl dialect has no way to ask for less")
		}
		e.Validity = e.MaxValidity
	}
	body, err := d.enrollment(e)
	if err != nil {
		return Answer{}, invalid(OpEnroll, "csr", err.Error())
	}
	q := call{
		op: OpEnroll, method: http.MethodPost, body: body, lastByte: e.BeforeLastByte,
		path: segments("certificate-authorities", e.CAID, "enrollments"),
	}
	a, err := c.order(ctx, d, q, Poll{CAID: e.CAID, CSR: func() *x509.CertificateRequest { return e.CSR }})
	if a.leaf != nil && (e.Validity == 0 && e.Period == "" || d.name() == DialectCertctl) {
		c.lives.saw(e.CAID, e.ProfileID, a.leaf)
	}
	return a, err
}

// check finds bad input and fills in the CSR's names where none are given.
func (e *Enrollment) check() error {
	switch {
	case strings.TrimSpace(e.CAID) == "":
		return invalid(OpEnroll, "ca_id", "must not be empty")
	case e.CSR == nil || len(e.CSR.Raw) == 0:
		return invalid(OpEnroll, "csr", "is missing")
	case e.Validity < 0 || e.Validity > 0 && e.Validity < time.Second:
		return invalid(OpEnroll, "validity", "must be one second or more")
	}
	if e.SANs == nil {
		var err error
		if e.SANs, err = san.Read(e.CSR.Extensions); err != nil {
			return invalid(OpEnroll, "csr", err.Error())
		}
	}
	for i := range e.Extensions {
		if slices.ContainsFunc(e.Extensions[:i], func(other Extension) bool { return other.OID == e.Extensions[i].OID }) {
			return invalid(OpEnroll, "extensions", e.Extensions[i].OID+" is asked for twice; ekus and must_staple are extensions too")
		}
	}
	for i, name := range e.SANs {
		if err := name.Check(); err != nil {
			return invalid(OpEnroll, "sans["+strconv.Itoa(i)+"]", err.Error())
		}
	}
	return nil
}

// Poll asks for the state of a pending enrollment. The error is an *Error; NotFound
// says that the gateway does not know the order.
func (c *Client) Poll(ctx context.Context, p Poll) (Answer, error) {
	if p.CAID == "" {
		p.CAID = c.cfg.CAID
	}
	switch {
	case strings.TrimSpace(p.CAID) == "":
		return Answer{}, invalid(OpPoll, "ca_id", "must not be empty")
	case strings.TrimSpace(p.TrackingID) == "":
		return Answer{}, invalid(OpPoll, "tracking_id", "must not be empty")
	}
	d, err := c.dialect(ctx, OpPoll)
	if err != nil {
		return Answer{}, err
	}
	path := strings.NewReplacer("{caId}", segment(p.CAID), "{trackingId}", segment(p.TrackingID)).
		Replace(strings.TrimLeft(c.cfg.PollPath, "/"))
	q := call{op: OpPoll, method: http.MethodGet, path: path}
	switch {
	case d.name() != DialectCAGW || c.cfg.Poll == PollEnrollment:
		return c.order(ctx, d, q, p)
	case c.cfg.Poll == PollAuto:
		return c.pollAuto(ctx, d, q, p)
	}
	if p.Search != nil {
		if s, ok := p.Search(); ok {
			return c.pollEvents(ctx, p, s)
		}
	}
	return Answer{State: Pending, TrackingID: p.TrackingID, Status: "events cannot show it"}, nil
}

// order sends an enrollment or a poll and reads the answer.
func (c *Client) order(ctx context.Context, d dialect, q call, p Poll) (Answer, error) {
	r, err := c.send(ctx, q)
	if err != nil {
		return Answer{}, invalid(q.op, "ca_id", "makes no valid URL")
	}
	var o order
	var leaf *x509.Certificate
	m, problem := meansNothing, ""
	switch {
	case r.success() && (r.phase == phaseAnswered || r.phase == phaseCut):
		if o, err = d.order(append(r.body, r.part...)); err != nil {
			problem = err.Error()
			break
		}
		o.broken = o.broken || r.phase == phaseCut
		if leaf = o.leaf(p.CSR); leaf != nil {
			r.phase = phaseAnswered // a whole certificate says more than the end that is missing
		}
		m, problem = o.meaning(q.op, c.cfg.Words, leaf)
		// An error body may carry a status of its own; only a certificate outweighs it.
		if m != meansIssued && m != meansRejected && readRefusal(r.body, d.name()).own {
			m = meansNothing
		}
	case q.op == OpPoll && r.status == http.StatusNotFound && c.young(p.SubmittedAt):
		m = meansYoung
	}
	e, err := c.verdict(q.op, r, m, problem)
	if failed, ok := errors.AsType[*Error](err); ok {
		failed.keep(o)
	}
	if err != nil {
		return Answer{}, err
	}
	a := Answer{
		State: e.state, TrackingID: o.trackingID, Status: bound(o.status, maxCode),
		HTTPStatus: r.status, RetryAfter: r.wait,
	}
	if a.TrackingID == "" {
		a.TrackingID = p.TrackingID
	}
	switch a.State {
	case Pending:
		if r.success() {
			c.noteWord(q.op, o.status)
		} else {
			a.foreign = !readRefusal(r.body, d.name()).own
		}
	case Rejected:
		a.Code, a.Message = readReason(r.body)
	case Issued:
		c.complete(ctx, d, &a, o, leaf, p.CAID)
	}
	return a, nil
}

func (c *Client) young(submitted time.Time) bool {
	return !submitted.IsZero() && c.cfg.NotFoundGrace > 0 && time.Since(submitted) < c.cfg.NotFoundGrace
}

// noteWord counts a status word that is in no list, and logs it the first time.
func (c *Client) noteWord(op Op, word string) {
	if hasWord(c.cfg.Words.Pending, word) {
		return
	}
	if word = bound(word, maxCode); word == "" {
		word = "(none)"
	}
	if c.words.add(wordKey(word)) {
		c.log.Warn("gateway uses an unknown status word; it counts as pending", "op", string(op), "word", word)
	}
}

// keep notes what could be read of an answer whose rest could not be.
func (e *Error) keep(o order) {
	e.TrackingID = o.trackingID
	n, ok := new(big.Int).SetString(o.serial, 16)
	if !ok || n.Sign() <= 0 || n.BitLen() > 160 {
		return
	}
	e.Serial = hexSerial(n, 0)
	e.Message = clean(e.Message + "; the answer names the serial " + e.Serial)
}

// complete fills in the certificate and its chain.
func (c *Client) complete(ctx context.Context, d dialect, a *Answer, o order, leaf *x509.Certificate, caID string) {
	a.leaf, a.Certificate = leaf, leaf.Raw
	c.paddings.learn(caID, o.serial, leaf.SerialNumber)
	given := bundle{certs: slices.Concat(o.certificate.certs, o.chain.certs), unread: o.certificate.unread + o.chain.unread}
	above, left := c.links.above(leaf, given, time.Now())
	if len(above) == 0 {
		switch {
		case d.name() == DialectCAGW:
			above, left = c.chainOf(ctx, caID, leaf)
		case left.any():
			c.unchained(caID, leaf)
		}
	}
	if warning := left.warning(); warning != "" {
		a.Warnings = append(a.Warnings, warning)
	}
	for _, cert := range above {
		a.Chain = append(a.Chain, cert.Raw)
	}
}
