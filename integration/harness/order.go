package harness

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
)

// Producer is the name under which orders are requested.
const Producer = "shop"

// Order is one request and what it has to come to.
type Order struct {
	Request entrustbus.Request
	// KeyHash names the public key at the simulator, "" for a request without one.
	KeyHash string
	// Want are the outcomes that are right, the first where nothing goes wrong.
	Want []entrustbus.Outcome
	// Since is when the request was published; set by Submit.
	Since time.Time
}

// ID is the request's id.
func (o *Order) ID() string { return o.Request.OrderID() }

// NewIssue makes an issue request with a new key. fate is one of the words that
// steer the simulator (issue, reject, pending, decline, hold; see its package
// comment), or any other word. It panics if no key can be made.
func NewIssue(id, fate string, want ...entrustbus.Outcome) *Order {
	csr, spki := newCSR(fate + "-" + strings.ToLower(id))
	return &Order{
		Request: &entrustbus.Issue{ID: id, CSRDER: csr, Labels: map[string]string{"fate": fate}},
		KeyHash: gatewaytest.KeyHash(spki),
		Want:    want,
	}
}

// newCSR makes a certificate request for <name>.example.net, with the name as its
// common name too.
func newCSR(name string) (der, spki []byte) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(fmt.Sprintf("harness: making a key: %v", err))
	}
	name += ".example.net"
	der, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
	}, key)
	if err != nil {
		panic(fmt.Sprintf("harness: making a certificate request: %v", err))
	}
	if spki, err = x509.MarshalPKIXPublicKey(key.Public()); err != nil {
		panic(fmt.Sprintf("harness: encoding a key: %v", err))
	}
	return der, spki
}

// Right reports whether an outcome is one that the order may have.
func (o *Order) Right(got entrustbus.Outcome) bool { return slices.Contains(o.Want, got) }

// Submit publishes requests through the producer client, each until the server
// has stored it: a repetition is the same request to the server and the worker.
func (s *Site) Submit(ctx context.Context, orders ...*Order) error {
	client, err := s.Client()
	if err != nil {
		return err
	}
	for _, o := range orders {
		o.Since = time.Now()
		err := Until(ctx, "the request stream takes "+o.ID(), func() (bool, error) {
			_, err := client.Submit(ctx, o.Request)
			return err == nil, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Client is a producer's client on the undisturbed connection.
func (s *Site) Client() (*entrustbus.Client, error) {
	return entrustbus.New(s.NATS, entrustbus.ClientConfig{
		Producer: Producer, Subjects: s.Layout.Subjects(),
		ResultStream: s.Layout.Results, LedgerBucket: s.Layout.Orders,
	})
}
