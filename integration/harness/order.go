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
	// Clashes is how many other requests were stored under the same id, and
	// MaybeClashes how many may have been beside. Each is a dead letter `invalid`.
	Clashes, MaybeClashes int
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

// submitTry bounds one publish: the acknowledgement of a server that died never comes.
const submitTry = 3 * time.Second

// Submit publishes requests through the producer client, each until the server
// has stored it: a repetition is the same request to the server and the worker.
func (s *Site) Submit(ctx context.Context, orders ...*Order) error {
	client, err := s.Client()
	if err != nil {
		return err
	}
	for _, o := range orders {
		err := Until(ctx, "the request stream takes "+o.ID(), func() (bool, error) {
			try, cancel := context.WithTimeout(ctx, submitTry)
			defer cancel()
			_, err := client.Submit(try, o.Request)
			return err == nil, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Resend publishes a request once more as a tool would that knows nothing of message
// ids, so that the server does not recognise it.
func (s *Site) Resend(ctx context.Context, q entrustbus.Request) error {
	body, err := entrustbus.EncodeRequest(entrustbus.EncodingMsgpack, q)
	if err != nil {
		return err
	}
	subject := s.Layout.Subjects().Request(Producer, q.Kind())
	ctx, cancel := context.WithTimeout(ctx, submitTry)
	defer cancel()
	_, err = s.JS.Publish(ctx, subject, body)
	return err
}

// Client is a producer's client on the undisturbed connection.
func (s *Site) Client() (*entrustbus.Client, error) {
	return entrustbus.New(s.NATS, entrustbus.ClientConfig{
		Producer: Producer, Subjects: s.Layout.Subjects(),
		ResultStream: s.Layout.Results, LedgerBucket: s.Layout.Orders,
	})
}
