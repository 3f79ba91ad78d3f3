package gatewaytest

import (
	"cmp"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"math/big"
	"net/http"
	"strings"
	"time"

	"software.sslmate.com/src/go-pkcs12"
)

// plan decides what happens to a new order: by the rules, then by the prefix of its common
// name, then by the fractions of the Config.
func (s *Server) plan(e *enrollment, v verdict, now time.Time) (st, fate state, due int64) {
	after := func(d time.Duration) int64 {
		if d == 0 {
			return 0
		}
		return now.Add(d).UnixNano()
	}
	approve := s.cfg.ApproveAfter
	prefix, _, _ := strings.Cut(e.subject, "-")
	switch {
	case e.shape == shapePKCS12:
		return issued, issued, 0 // the answer must hold the key that the gateway made
	case v.reject != nil && *v.reject == 0:
		return rejected, rejected, 0
	case v.reject != nil:
		return pending, rejected, after(*v.reject)
	case v.approval != nil:
		return pending, issued, after(*v.approval)
	case prefix == "issue":
		return issued, issued, 0
	case prefix == "reject":
		return rejected, rejected, 0
	case prefix == "pending":
		return pending, issued, after(approve)
	case prefix == "decline":
		return pending, rejected, after(approve)
	case prefix == "hold":
		return pending, issued, 0
	}
	fate = issued
	if draw(s.cfg.Seed, 1, e.subject) < s.cfg.RejectFraction {
		fate = rejected
	}
	if draw(s.cfg.Seed, 2, e.subject) < s.cfg.PendingFraction {
		return pending, fate, after(approve)
	}
	return fate, fate, 0
}

// enroll serves POST …/enrollments.
func (s *Server) enroll(c *call) *answer {
	if c.refusal != nil {
		s.tally.refused.Add(1)
		return s.refusalAnswer(c, c.refusal)
	}
	e := c.enrollment
	num, err := s.store.reserve(s.cfg.LicenceCap)
	if errors.Is(err, errLicence) {
		s.tally.refused.Add(1)
		return s.licenceAnswer(c, nil)
	}
	now := time.Now() // the latency has passed since c.now
	r := &record{
		kind: recEnroll, num: num, at: now.UnixNano(), packed: e.spec.pack(),
		flaw: c.v.flaw, shape: e.shape, ca: c.ca, chain: e.chain,
	}
	r.state, r.fate, r.due = s.plan(e, c.v, now)
	if r.state == issued {
		r.cert, err = s.signer.sign(e.spec, s.store.nonce.serial(num), r.flaw, now)
		if err != nil {
			s.store.release()
			return s.internalError(c)
		}
	}
	if err := s.store.enroll(r); err != nil {
		return s.internalError(c)
	}
	o := order{packed: r.packed, cert: r.cert, state: r.state, shape: r.shape, flaw: r.flaw, chain: r.chain}
	a, err := s.enrollmentAnswer(num, o, c.v, e)
	if err != nil {
		return s.internalError(c)
	}
	if o.state == pending || c.v.word != "" {
		a.status = http.StatusCreated
	}
	s.noteEnd(num, o, c.v)
	return a
}

// noteEnd records that an answer tells the client how the order ended, unless a rule
// replaces that answer.
func (s *Server) noteEnd(num uint32, o order, v verdict) {
	if o.state != pending && v.word == "" && !v.bare && !v.damaged && v.end == nil {
		s.store.told(num)
	}
}

// poll serves GET …/enrollments/{id}.
func (s *Server) poll(c *call) *answer {
	missing := &refusal{http.StatusNotFound, "cagw-4044", "Enrollment not found", "enrollmentId"}
	num, ok := s.store.nonce.order(c.id)
	if !ok {
		return s.refusalAnswer(c, missing)
	}
	now := time.Now()
	o, ok := s.store.poll(num, now)
	if !ok || o.ca != c.ca || c.id != s.store.nonce.trackingID(num, o.shape) {
		return s.refusalAnswer(c, missing)
	}
	if o.state == pending && o.due != 0 && o.due <= now.UnixNano() {
		var err error
		if o, err = s.settle(num, o, c.v.flaw, now); err != nil {
			return s.internalError(c)
		}
	}
	a, err := s.enrollmentAnswer(num, o, c.v, nil)
	if err != nil {
		return s.internalError(c)
	}
	s.noteEnd(num, o, c.v)
	return a
}

// settle ends an order whose due time has passed.
func (s *Server) settle(num uint32, o order, f flaw, now time.Time) (order, error) {
	if o.fate == rejected {
		return s.store.settle(num, nil, now)
	}
	cert, err := s.signer.sign(unpack(o.packed), s.store.nonce.serial(num), cmp.Or(o.flaw, f), now)
	if err != nil {
		return o, err
	}
	return s.store.settle(num, cert, now)
}

// settleDue ends every order whose due time has passed, polled or not.
func (s *Server) settleDue(now time.Time) error {
	for {
		nums := s.store.overdue(256, now)
		if len(nums) == 0 {
			return nil
		}
		for _, num := range nums {
			o, ok := s.store.get(num)
			if !ok {
				continue
			}
			if _, err := s.settle(num, o, flawless, now); err != nil {
				return err
			}
		}
	}
}

// flatEnrollment is the answer of the CertCtl dialect.
type flatEnrollment struct {
	TrackingID  string `json:"trackingId"`
	Status      string `json:"status"`
	Certificate string `json:"certificate,omitempty"`
	Chain       string `json:"chain,omitempty"`
}

// nestedEnrollment is the answer of the CAGW dialect.
type nestedEnrollment struct {
	Type       string     `json:"type"`
	Message    message    `json:"message"`
	Enrollment enrollView `json:"enrollment"`
}

type enrollView struct {
	ID             string            `json:"id"`
	SerialNumber   string            `json:"serialNumber,omitempty"`
	SubjectName    string            `json:"subjectName,omitempty"`
	IssuerName     string            `json:"issuerName,omitempty"`
	ValidityPeriod string            `json:"validityPeriod,omitempty"`
	Status         string            `json:"status"`
	Body           string            `json:"body,omitempty"`
	Properties     map[string]string `json:"properties,omitempty"`
	Chain          []certData        `json:"chain,omitempty"`
}

// certData is a certificate as base64 of its DER.
type certData struct {
	CertificateData string `json:"certificateData"`
}

// enrollmentAnswer returns the answer for an order in its present state. e is the
// enrollment; nil for a poll.
func (s *Server) enrollmentAnswer(num uint32, o order, v verdict, e *enrollment) (*answer, error) {
	id := s.store.nonce.trackingID(num, o.shape)
	word := v.word
	if word == "" {
		word = s.word(o)
	}
	show := o.state == issued && v.word == "" && !v.bare
	chain := s.chains.good
	if o.flaw == flawChain || v.flaw == flawChain {
		chain = s.chains.expired
	}
	der := o.cert
	if v.damaged {
		der = der[:len(der)/2]
	}
	if o.shape == shapeCertCtl {
		out := flatEnrollment{TrackingID: id, Status: word}
		if show {
			out.Certificate, out.Chain = string(encodeCert(der)), chain.pem
		}
		return jsonAnswer(http.StatusOK, out), nil
	}
	out := nestedEnrollment{
		Type:       "EnrollmentResponse",
		Message:    message{Message: "Enrollment was successful.", Details: []string{}},
		Enrollment: enrollView{ID: id, Status: word},
	}
	switch {
	case o.state == pending:
		out.Message.Message = "Enrollment is pending."
	case o.state == rejected:
		out.Message.Message = "Enrollment was rejected."
	}
	if !show {
		return jsonAnswer(http.StatusOK, out), nil
	}
	fields, err := fieldsOf(o.cert)
	if err != nil {
		return nil, err
	}
	view := &out.Enrollment
	if o.shape != shapePKCS12 || e == nil {
		view.SerialNumber = s.hexSerial(fields.Serial)
		view.ValidityPeriod = periodString(fields.Validity.NotBefore, fields.Validity.NotAfter)
	}
	view.SubjectName, view.IssuerName = recordedName(fields.Subject.FullBytes), recordedName(fields.Issuer.FullBytes)
	view.Body = base64.StdEncoding.EncodeToString(der)
	switch {
	case o.shape == shapePEM:
		view.Body = string(encodeCert(der))
	case o.shape == shapePKCS12 && e != nil:
		cert, err := x509.ParseCertificate(o.cert)
		if err != nil {
			return nil, err
		}
		// The legacy encoder, which old clients can read.
		p12, err := pkcs12.LegacyDES.Encode(e.private, cert, s.chains.certs, e.password)
		if err != nil {
			return nil, err
		}
		view.Body = base64.StdEncoding.EncodeToString(p12)
	}
	if o.chain {
		view.Chain = chain.data
	}
	return jsonAnswer(http.StatusOK, out), nil
}

// word returns the gateway's status word for an order.
func (s *Server) word(o order) string {
	flat := o.shape == shapeCertCtl
	switch {
	case o.state == rejected:
		return "REJECTED"
	case o.state == pending && flat:
		return "AWAITING_APPROVAL"
	case o.state == pending:
		return "PENDING"
	case flat:
		return "ISSUED"
	}
	return "ACCEPTED"
}

// hexSerial prints a serial number in the form of the CAGW dialect.
func (s *Server) hexSerial(n *big.Int) string {
	text := hex.EncodeToString(n.Bytes())
	if pad := s.cfg.SerialDigits - len(text); pad > 0 {
		text = strings.Repeat("0", pad) + text
	}
	return text
}

// certFields are the fields of an answer about a certificate, whose key Go may not know.
type certFields struct {
	Version   int `asn1:"explicit,tag:0"`
	Serial    *big.Int
	Algorithm asn1.RawValue
	Issuer    asn1.RawValue
	Validity  struct{ NotBefore, NotAfter time.Time }
	Subject   asn1.RawValue
}

func fieldsOf(der []byte) (*certFields, error) {
	var cert struct{ TBS certFields }
	_, err := asn1.Unmarshal(der, &cert)
	return &cert.TBS, err
}

func periodString(notBefore, notAfter time.Time) string {
	return notBefore.UTC().Format(time.RFC3339) + "/" + notAfter.UTC().Format(time.RFC3339)
}

// Approve ends a pending order as issued, from its next poll on. It returns ErrNoOrder for
// an unknown order, and ErrEnded for an order that is not pending.
func (s *Server) Approve(trackingID string) error { return s.decide(trackingID, issued) }

// Reject ends a pending order as rejected, from its next poll on. It returns ErrNoOrder for
// an unknown order, and ErrEnded for an order that is not pending.
func (s *Server) Reject(trackingID string) error { return s.decide(trackingID, rejected) }

func (s *Server) decide(trackingID string, fate state) error {
	num, ok := s.store.nonce.order(trackingID)
	if !ok {
		return ErrNoOrder
	}
	return s.store.decide(num, fate, time.Now())
}

// ApproveAll approves every pending order, each at a random instant between now and
// now+over, and returns their number.
func (s *Server) ApproveAll(over time.Duration) (int, error) {
	now := time.Now()
	n := 0
	for _, num := range s.store.pendingOrders() {
		at := now.Add(time.Duration(draw(s.cfg.Seed, uint64(num), "approve all") * float64(over)))
		err := s.store.decide(num, issued, at)
		if errors.Is(err, ErrEnded) {
			continue
		}
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
