package consumer

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// A worker whose host is 26 years behind publishes a certificate that is valid now. The clock
// of a bubble is at the year 2000; the server's is not.
func TestIssuedIsCheckedByTheServersClock(t *testing.T) {
	t.Parallel()
	server := testbed.Start(t)
	_, err := server.JetStream(t).CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "CONTROL", LimitMarkerTTL: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	csr, cert := issuedNow(t)

	synctest.Test(t, func(t *testing.T) {
		nc, err := server.Connect()
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		bucket := control.Open(control.Config{JS: js, Bucket: "CONTROL", Worker: "behind", Gateway: "gateway"})
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { bucket.Run(ctx, control.Handlers{}) })
		defer running.Wait()
		defer stop()
		// The bubble's time stops while the bucket waits for the server.
		for _, ok := bucket.Clock().Now(); !ok; _, ok = bucket.Clock().Now() {
			runtime.Gosched()
		}
		h := &handling{w: &Worker{control: bucket}, read: &order.Request{Body: &entrustbus.Issue{ID: "o", CSRDER: csr}}}
		got := h.checked(gateway.Answer{Certificate: cert}, order.Answer{})
		if got.Word != order.Issued || got.Certificate == nil {
			t.Errorf("a certificate of now is taken for %v (%+v), where the host's clock says %s", got.Word, got.Error, time.Now())
		}
	})
}

// issuedNow makes a certificate request and the certificate for it.
func issuedNow(t *testing.T) (csr, cert []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	name := pkix.Name{CommonName: "www.example.net"}
	csr, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: name, DNSNames: []string{name.CommonName}}, key)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: name, DNSNames: []string{name.CommonName},
		NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour),
	}
	if cert, err = x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key); err != nil {
		t.Fatal(err)
	}
	return csr, cert
}
