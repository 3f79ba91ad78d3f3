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
	// Issued: the answer holds a certificate. The caller checks it with CheckIssued.
	Issued State = iota + 1
	// Pending: the order waits. Poll asks again.
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
	// CSR is the parsed certificate request. Enroll does not verify its signature.
	CSR *x509.CertificateRequest
	// SubjectDN is the subject as RFC 2253 text, or in OpenSSL's form with slashes. Empty: the
	// subject of the CSR, or none if there are SubjectVariables. Not sent in the certctl
	// dialect.
	SubjectDN string
	// OmitSubject requests a certificate without naming a subject. It overrides SubjectDN.
	OmitSubject bool
	// SubjectVariables, Properties and Extensions are sent unchanged. The certctl dialect
	// cannot express them: an enrollment that has any is Refused there. A property is a
	// string, a number, a bool, or a list of these.
	SubjectVariables []SubjectVariable
	Properties       map[string]any
	Extensions       []Extension
	// SANs are the requested names; nil: those of the CSR. The certctl dialect sends every
	// name with a text form as a dNSName.
	SANs []SAN
	// Validity is the requested validity in whole seconds; 0: as the profile says. Not sent in
	// the certctl dialect.
	Validity time.Duration
	// Period is the requested validity as a duration or interval of ISO 8601. It is sent
	// unchanged, in place of Validity. Empty: none. An enrollment that has one is Refused in
	// the certctl dialect.
	Period string
	// MaxValidity caps the validity if neither Validity nor Period requests one; 0: no cap.
	// Enroll requests the cap, unless the profile is known to give no more: by
	// Config.ProfileValidity, or by its last certificate without a requested validity. The
	// certctl dialect cannot request a validity: there an enrollment is Refused if the profile
	// is known to give more. Expectation.MaxValidity checks the issued certificate.
	MaxValidity time.Duration
	// BeforeLastByte checks that the caller may still enroll; nil: no check. It runs on a
	// goroutine of the transport, immediately before the transport gets the last byte of the
	// request's body. If it returns an error, the gateway never gets the whole request.
	// Enroll's error then has the fate NotAccepted and wraps that error. BeforeLastByte runs
	// again if the connection broke before the request was written to its end, and the request
	// is started again. EnrollTimeout includes it.
	//
	// The check cannot cover a freeze of the process or host after it returned: the byte is
	// written when the freeze ends, however long it was. The same holds for a snapshot of the
	// host that is restored at that point.
	BeforeLastByte func() error
}

// Poll asks for the state of a pending enrollment.
type Poll struct {
	// CAID names the CA; empty: the configured one.
	CAID string
	// TrackingID is Answer.TrackingID of the enrollment.
	TrackingID string
	// SubmittedAt is when the enrollment was sent. Config.NotFoundGrace begins then. Zero: no
	// grace.
	SubmittedAt time.Time
	// CSR, if not nil, returns the submitted certificate request, or nil. It distinguishes the
	// issued certificate from others in the same answer. Poll calls it only if an answer holds
	// a certificate: parsing a request costs more than a poll.
	CSR func() *x509.CertificateRequest
	// Search, if not nil, returns what to search for in the certificate events, or false if
	// they cannot show the order. See PollMode for when Poll reads them.
	Search func() (Search, bool)
}

// Answer is what the gateway said about an enrollment.
type Answer struct {
	State State
	// TrackingID is the gateway's id of the order, if it gave one.
	TrackingID string
	// Status is the gateway's own status word, at most 64 characters. Callers must not decide
	// by it.
	Status string
	// Certificate is the DER of the issued certificate. It is unchecked: CheckIssued says
	// whether it is the requested one.
	Certificate []byte
	// Chain is the DER of the certificates above, the issuer first. They come from the answer,
	// or from the CA's resource. Each signed the one below it and is in force. Empty if there
	// are none (see Stats.ChainFailures).
	Chain [][]byte
	// Warnings say what was left out of Chain, one line each.
	Warnings []string
	// HTTPStatus is the status of the answer.
	HTTPStatus int
	// RetryAfter is how long the gateway asks the client to wait; 0 if it does not ask.
	RetryAfter time.Duration
	// Code and Message are the gateway's reason for Rejected, bounded and cleaned.
	Code, Message string

	leaf    *x509.Certificate // Certificate, parsed: CheckIssued need not parse it again
	foreign bool              // not a 2xx, and without the gateway's own error body
}

// Enroll submits an enrollment once: it writes at most one whole request. Error.Written
// reports whether it did. The error is an *Error. With any Fate but Unknown and Unreadable
// the gateway did not accept the enrollment.
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
		return Answer{}, invalid(OpEnroll, "profile_id", "must not be empty for the CA Gateway, and none is configured")
	}
	if what := e.beyondCertctl(); what != "" && d.name() == DialectCertctl {
		return Answer{}, invalid(OpEnroll, what, "cannot be requested in the certctl dialect")
	}
	given, known := c.lives.of(e.CAID, e.ProfileID)
	if e.MaxValidity > 0 && e.Validity == 0 && e.Period == "" && (!known || longerThan(given, e.MaxValidity)) {
		if d.name() == DialectCertctl && known {
			return Answer{}, invalid(OpEnroll, "max_validity_seconds", "the profile gives certificates of "+given.String()+", and the certctl dialect cannot request less")
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

// check returns an error for bad input. It sets SANs to the CSR's names if they are nil.
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
			return invalid(OpEnroll, "extensions", e.Extensions[i].OID+" is requested twice; ekus and must_staple are extensions too")
		}
	}
	for i, name := range e.SANs {
		if err := name.Check(); err != nil {
			return invalid(OpEnroll, "sans["+strconv.Itoa(i)+"]", err.Error())
		}
	}
	return nil
}

// Poll asks for the state of a pending enrollment. The error is an *Error. Its fate NotFound
// means that the gateway does not know the order.
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
			r.phase = phaseAnswered // the answer is truncated, but the certificate is whole
		}
		m, problem = o.meaning(q.op, c.cfg.Words, leaf)
		// An error body may have a status member too. Only a certificate or a rejected word
		// outweighs the error body.
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

// young reports whether the order is within Config.NotFoundGrace.
func (c *Client) young(submitted time.Time) bool {
	return !submitted.IsZero() && c.cfg.NotFoundGrace > 0 && time.Since(submitted) < c.cfg.NotFoundGrace
}

// noteWord counts a status word of a pending order that is in no list, and logs it once.
func (c *Client) noteWord(op Op, word string) {
	if hasWord(c.cfg.Words.Pending, word) {
		return
	}
	if word = bound(word, maxCode); word == "" {
		word = "(none)"
	}
	if c.words.add(wordKey(word)) {
		c.log.Warn("unknown status word of the gateway counts as pending", "op", string(op), "word", word)
	}
}

// keep adds the readable parts of a malformed answer.
func (e *Error) keep(o order) {
	e.TrackingID = o.trackingID
	n, ok := new(big.Int).SetString(o.serial, 16)
	if !ok || n.Sign() <= 0 || n.BitLen() > 160 {
		return
	}
	e.Serial = hexSerial(n, 0)
	e.Message = clean(e.Message + "; the answer names the serial " + e.Serial)
}

// complete sets the certificate and its chain.
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
