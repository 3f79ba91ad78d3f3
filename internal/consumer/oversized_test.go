package consumer_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/consumer"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// smallest is a server with the smallest message limit that the worker runs with.
const smallest = "max_payload: 65536"

// ca issues certificates of a given size. As a gateway it answers enrollments with them, at
// once or, when pending is set, at the first poll.
type ca struct {
	consumer.Gateway
	t       testing.TB
	key     *ecdsa.PrivateKey
	cert    *x509.Certificate
	chain   int // bytes of padding in the CA's certificate
	leaf    int // bytes of padding in each leaf
	pending bool
	refuse  bool // no enrollment is accepted
	csr     *x509.CertificateRequest
}

func newCA(t testing.TB, chain, leaf int) *ca {
	t.Helper()
	c := &ca{t: t, chain: chain, leaf: leaf}
	var err error
	if c.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Large CA"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, ExtraExtensions: padding(chain),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &c.key.PublicKey, c.key)
	if err == nil {
		c.cert, err = x509.ParseCertificate(der)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func padding(n int) []pkix.Extension {
	if n == 0 {
		return nil
	}
	return []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}, Value: bytes.Repeat([]byte{4}, n)}}
}

func (c *ca) issue(csr *x509.CertificateRequest) (gateway.Answer, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(0xbad), Subject: csr.Subject, DNSNames: csr.DNSNames, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		ExtraExtensions: padding(c.leaf),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.cert, csr.PublicKey, c.key)
	return gateway.Answer{State: gateway.Issued, Certificate: der, Chain: [][]byte{c.cert.Raw}, TrackingID: "T-1"}, err
}

func (c *ca) Enroll(_ context.Context, e gateway.Enrollment) (gateway.Answer, error) {
	switch {
	case c.refuse:
		return gateway.Answer{}, &gateway.Error{Op: gateway.OpEnroll, Fate: gateway.NotAccepted, Class: "upstream_5xx", HTTPStatus: 503, Message: "busy"}
	case c.pending:
		c.csr = e.CSR
		return gateway.Answer{State: gateway.Pending, TrackingID: "T-1"}, nil
	}
	return c.issue(e.CSR)
}

func (c *ca) Poll(context.Context, gateway.Poll) (gateway.Answer, error) { return c.issue(c.csr) }
func (c *ca) Profile(context.Context, string, string) (gateway.Profile, error) {
	return gateway.Profile{}, gateway.ErrNotDescribed
}

func (c *ca) CAs(context.Context) ([]gateway.ListedCA, error) { return nil, errors.New("no list") }
func (c *ca) CanFind() bool                                   { return false }
func (c *ca) Probe(context.Context) error                     { return nil }

// labels are labels of about that many bytes.
func labels(n int) map[string]string {
	all := map[string]string{}
	for i := 0; n > 0; i++ {
		all[fmt.Sprint("label-", i)] = strings.Repeat("x", min(n, entrustbus.MaxLabelValueBytes))
		n -= entrustbus.MaxLabelValueBytes
	}
	return all
}

// A result that no message can hold is published without its chain, then without labels, then
// as failed with the serial. Its order always ends.
func TestResultTooLarge(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		chain, leaf, labels int
		pending             bool
		approvalNever       bool // the end is written before the result
		left                []string
		outcome             entrustbus.Outcome
	}{
		"all of it fits":              {labels: 10 << 10, outcome: entrustbus.OutcomeIssued},
		"without chain":               {chain: 60 << 10, labels: 10 << 10, left: []string{"chain_pem"}, outcome: entrustbus.OutcomeIssued},
		"without chain, after a poll": {chain: 60 << 10, pending: true, left: []string{"chain_pem"}, outcome: entrustbus.OutcomeIssued},
		"without chain and labels":    {chain: 60 << 10, leaf: 36 << 10, labels: 14 << 10, left: []string{"chain_pem", "labels"}, outcome: entrustbus.OutcomeIssued},
		"without labels, end written": {chain: 60 << 10, leaf: 36 << 10, labels: 14 << 10, approvalNever: true, left: []string{"chain_pem", "labels"}, outcome: entrustbus.OutcomeIssued},
		"without certificate":         {leaf: 60 << 10, labels: 10 << 10, left: []string{"chain_pem", "labels"}, outcome: entrustbus.OutcomeFailed},
		"without it, after a poll":    {leaf: 60 << 10, pending: true, left: []string{"chain_pem"}, outcome: entrustbus.OutcomeFailed},
		"without it, end written":     {leaf: 60 << 10, approvalNever: true, left: []string{"chain_pem"}, outcome: entrustbus.OutcomeFailed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := setupOn(t, testbed.Start(t, smallest), gatewaytest.Config{})
			r.cfg.ApprovalNever = row.approvalNever
			gw := newCA(t, row.chain, row.leaf)
			gw.pending = row.pending
			r.runWith(gw)
			r.send(&entrustbus.Issue{ID: "big", CSRPEM: csr(t, "big"), Labels: labels(row.labels)})
			res := r.result("big")
			if res.Outcome != row.outcome || res.Serial != "bad" || res.Submissions != 1 || len(res.Warnings) != len(row.left) {
				t.Fatalf("the result is %s with serial %s and the warnings %q (error %+v)", res.Outcome, res.Serial, res.Warnings, res.Error)
			}
			for i, what := range row.left {
				if !strings.HasPrefix(res.Warnings[i], what+" ") {
					t.Errorf("warning %d is %q, want one about %s", i, res.Warnings[i], what)
				}
			}
			if rec := r.closed("big"); rec.Outcome != row.outcome || rec.Serial != "bad" {
				t.Errorf("the record says %s, serial %s", rec.Outcome, rec.Serial)
			}
			if row.outcome == entrustbus.OutcomeIssued {
				if res.CertificatePEM == "" || (res.ChainPEM == "") != (len(row.left) > 0) || (res.Labels == nil) != (row.labels == 0 || len(row.left) > 1) {
					t.Errorf("certificate %d, chain %d bytes, %d labels", len(res.CertificatePEM), len(res.ChainPEM), len(res.Labels))
				}
				r.wantLetters()
			} else {
				if e := res.Error; e == nil || e.Class != entrustbus.ClassOther || e.Code != order.CodeResultTooLarge || !strings.Contains(e.Message, "bad") {
					t.Errorf("the error is %+v", e)
				}
				l := r.wantLetters(order.Rejected)[0]
				if l.Key.ID != "big" || !strings.Contains(l.Why, "serial bad") || len(l.Request.Body) == 0 {
					t.Errorf("the letter is of %s, says %q, and holds %d bytes", l.Key, l.Why, len(l.Request.Body))
				}
				if !strings.Contains(r.log.String(), "a certificate was issued, and no message can hold it") {
					t.Error("the log does not say that a certificate was issued")
				}
			}
			r.quiet()
		})
	}
}

// A request that fills a message is refused before it is submitted, with an error. Neither
// record nor dead letter could hold it with their additions.
func TestRequestThatFillsAMessage(t *testing.T) {
	t.Parallel()
	r := setupOn(t, testbed.Start(t, smallest), gatewaytest.Config{})
	r.run()
	limit := int(r.js.Conn().MaxPayload())
	for i, spare := range []int{200, 1000, 4000} {
		id := fmt.Sprint("full", i)
		q := &entrustbus.Issue{ID: id, CSRPEM: csr(t, id)}
		body, err := entrustbus.EncodeRequest(entrustbus.EncodingJSON, q)
		if err != nil {
			t.Fatal(err)
		}
		body = append(body, bytes.Repeat([]byte(" "), limit-spare-len(body))...)
		r.publish(entrustbus.KindIssue, body)
		if res := r.result(id); res.Outcome != entrustbus.OutcomeFailed || res.Error.Code != order.CodeInvalid || res.Submissions != 0 {
			t.Errorf("%d bytes to spare: %+v (error %+v)", spare, res, res.Error)
		}
	}
	r.wantLetters(order.Invalid, order.Invalid, order.Invalid)
	r.quiet()
	if n := r.enrolled(); n != 0 {
		t.Errorf("%d enrollments", n)
	}
}

// limit bounds the messages of a stream while the worker runs: the limits that were checked at
// start may change later.
func (r *rig) limit(stream string, size int32) {
	r.t.Helper()
	st, err := r.js.Stream(r.t.Context(), stream)
	if err != nil {
		r.t.Fatal(err)
	}
	cfg := st.CachedInfo().Config
	cfg.MaxMsgSize = size
	if _, err := r.js.UpdateStream(r.t.Context(), cfg); err != nil {
		r.t.Fatal(err)
	}
}

// The wake-up of an order may exceed the server's limit. The order waits with a smaller one, or
// ends with an error.
func TestOrderThatCannotWait(t *testing.T) {
	t.Parallel()
	const size = 4 << 10
	for name, row := range map[string]struct {
		stream  func(*rig) string
		refuse  bool
		outcome entrustbus.Outcome
		code    string
		letters []order.Reason
	}{
		"no wake-up":             {stream: func(r *rig) string { return r.layout.Parked }, outcome: entrustbus.OutcomeIssued},
		"no record":              {stream: func(r *rig) string { return "KV_" + r.layout.Orders }, outcome: entrustbus.OutcomeUnconfirmed, code: order.CodeRequestTooLarge, letters: []order.Reason{order.Unconfirmed}},
		"no record, no approval": {stream: func(r *rig) string { return "KV_" + r.layout.Orders }, refuse: true, outcome: entrustbus.OutcomeFailed, code: order.CodeRequestTooLarge, letters: []order.Reason{order.Rejected}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := setup(t, gatewaytest.Config{})
			r.limit(row.stream(r), size)
			gw := newCA(t, 0, 0)
			gw.pending, gw.refuse = true, row.refuse
			r.runWith(gw)
			q := &entrustbus.Issue{ID: "big", CSRPEM: csr(t, "big")}
			body, err := entrustbus.EncodeRequest(entrustbus.EncodingJSON, q)
			if err != nil {
				t.Fatal(err)
			}
			r.publish(entrustbus.KindIssue, append(body, bytes.Repeat([]byte(" "), 2*size)...))
			res := r.result("big")
			if res.Outcome != row.outcome || (res.Error != nil) != (row.code != "") || res.Error != nil && res.Error.Code != row.code {
				t.Errorf("the result is %+v (error %+v)", res, res.Error)
			}
			if !row.refuse && res.TrackingID != "T-1" {
				t.Errorf("the tracking id is %q", res.TrackingID)
			}
			r.wantLetters(row.letters...)
			r.quiet()
		})
	}
}

// A dead letter that the server refuses is cut. When even the smallest is refused, the result
// is still published, and the log says so.
func TestLetterThatIsRefused(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		size    int32
		letters []order.Reason
		body    bool
	}{
		"with less":    {2 << 10, []order.Reason{order.Undecodable}, false},
		"not at all":   {64, nil, false},
		"as it should": {-1, []order.Reason{order.Undecodable}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := setup(t, gatewaytest.Config{})
			r.limit(r.layout.Dead, row.size)
			r.run()
			body := append([]byte{0xc1}, bytes.Repeat([]byte("x"), 8<<10)...)
			r.publish(entrustbus.KindIssue, body, entrustbus.HeaderOrderID, "odd", "X-Own", strings.Repeat("x", 1<<10))
			if res := r.result("odd"); res.Outcome != entrustbus.OutcomeFailed {
				t.Errorf("the result is %+v", res)
			}
			r.quiet()
			for _, l := range r.wantLetters(row.letters...) {
				if whole := bytes.Equal(l.Request.Body, body); whole != row.body || !whole && l.Length != len(body) {
					t.Errorf("the letter holds %d bytes of %d", len(l.Request.Body), l.Length)
				}
			}
			if said := strings.Contains(r.log.String(), "level=ERROR msg=\"the server refuses every dead letter"); said != (row.letters == nil) {
				t.Errorf("the log says that a letter is lost: %v", said)
			}
		})
	}
}
