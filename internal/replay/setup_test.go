package replay_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/replay"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// bench is a server with the real streams, and the stores of the test.
type bench struct {
	ctx      context.Context
	js       jetstream.JetStream
	layout   streams.Layout
	box      *deadletter.Box
	ledger   *ledger.Ledger
	replayer *replay.Replayer
}

func setup(t *testing.T) *bench {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	js := testbed.Start(t).JetStream(t)
	layout := streams.DefaultLayout()
	if _, err := streams.Provision(ctx, js, layout); err != nil {
		t.Fatal(err)
	}
	return &bench{
		ctx: ctx, js: js, layout: layout,
		box:      deadletter.New(js, layout.Dead, layout.Subjects()),
		ledger:   ledger.New(js, layout.Orders),
		replayer: replay.New(js, layout),
	}
}

// letter is a dead letter that is not published yet.
func letter(l order.Letter) *deadletter.Letter { return &deadletter.Letter{Letter: l} }

// put publishes a dead letter and returns it as it is read.
func (b *bench) put(t *testing.T, l order.Letter) *deadletter.Letter {
	t.Helper()
	l.ID = "letter of " + t.Name()
	if err := b.box.Put(b.ctx, letter(l)); err != nil {
		t.Fatal(err)
	}
	read, err := b.box.Get(b.ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	return read
}

// record writes r for an order to the ledger.
func (b *bench) record(t *testing.T, key order.Key, r order.Record) {
	t.Helper()
	if _, err := b.ledger.Write(key, order.Stored{}, r, nil).Try(b.ctx); err != nil {
		t.Fatal(err)
	}
}

// issueRequest is the valid body of an issue request.
func issueRequest(t *testing.T, id string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"a.example"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	csr := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	body, err := entrustbus.EncodeRequest(entrustbus.EncodingJSON, &entrustbus.Issue{
		ID: id, CSRPEM: string(csr), CAID: "ca-1", PollMaxWaitSeconds: 7200, Labels: map[string]string{"team": "web"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// digest is the digest of an issue request in the ledger.
func digest(t *testing.T, body []byte) []byte {
	t.Helper()
	r, err := entrustbus.DecodeRequest(entrustbus.KindIssue, entrustbus.EncodingJSON, body)
	if err != nil {
		t.Fatal(err)
	}
	sum, err := entrustbus.Digest(r)
	if err != nil {
		t.Fatal(err)
	}
	return sum[:]
}
