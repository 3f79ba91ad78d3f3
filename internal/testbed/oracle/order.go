package oracle

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"slices"
	"strings"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
)

// Producer is the default producer of orders.
const Producer = "shop"

// Order is one request with its expected outcomes.
type Order struct {
	Request entrustbus.Request
	// Producer published the request. Empty: the constant Producer.
	Producer string
	// KeyHash names the public key at the gateway, "" for a request without one.
	KeyHash string
	// Want are the accepted outcomes. The first is the outcome without faults.
	Want []entrustbus.Outcome
	// Clashes is how many other requests were stored under the same id; MaybeClashes is
	// how many more may have been. Each has a dead letter `invalid`.
	Clashes, MaybeClashes int
}

// ID returns the request's id.
func (o *Order) ID() string { return o.Request.OrderID() }

// Key returns <producer>.<id>.
func (o *Order) Key() string { return o.producer() + "." + o.ID() }

func (o *Order) producer() string { return cmp.Or(o.Producer, Producer) }

// Right reports whether Want contains an outcome.
func (o *Order) Right(got entrustbus.Outcome) bool { return slices.Contains(o.Want, got) }

// NewIssue makes an issue request with a new key. fate is one of the words that steer the
// simulator (issue, reject, pending, decline, hold; see its package comment), or any
// other word. It panics if it cannot make a key.
func NewIssue(id, fate string, want ...entrustbus.Outcome) *Order {
	csr, err := NewCSR(fate + "-" + strings.ToLower(id) + ".example.net")
	if err != nil {
		panic(err)
	}
	return IssueOf(&entrustbus.Issue{ID: id, CSRDER: csr, Labels: map[string]string{"fate": fate}}, want...)
}

// IssueOf returns the order of an issue request that holds its CSR as DER. It panics on a
// CSR that cannot be parsed.
func IssueOf(q *entrustbus.Issue, want ...entrustbus.Outcome) *Order {
	csr, err := x509.ParseCertificateRequest(q.CSRDER)
	if err != nil {
		panic(fmt.Errorf("reading the certificate request of %s: %w", q.ID, err))
	}
	return &Order{Request: q, KeyHash: gatewaytest.KeyHash(csr.RawSubjectPublicKeyInfo), Want: want}
}

// NewCSR makes a certificate request with a new key, which it discards. The first name is
// the common name too.
func NewCSR(names ...string) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
	}, key)
	if err != nil {
		return nil, fmt.Errorf("making a certificate request: %w", err)
	}
	return csr, nil
}
