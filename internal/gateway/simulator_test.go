package gateway_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
)

// simulator is a running gateway simulator with orders to poll and to revoke.
type simulator struct {
	gw      *gatewaytest.Server
	dialect gateway.Dialect
	good    *gateway.Client
	n       int
	// profiles is Config.ProfileValidity of later clients.
	profiles map[string]time.Duration
}

func startSimulator(t *testing.T, cfg gatewaytest.Config) *simulator {
	t.Helper()
	cfg.BasePath = "/cagw"
	gw, err := gatewaytest.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := gw.Close(); err != nil {
			t.Error(err)
		}
	})
	sim := &simulator{gw: gw, dialect: gateway.Dialect(cfg.Dialect)}
	sim.good = sim.client(t, nil, false)
	return sim
}

// client returns a new client with its own connections.
func (s *simulator) client(t *testing.T, way func(http.RoundTripper) http.RoundTripper, lapsed bool) *gateway.Client {
	t.Helper()
	hc, err := s.gw.Client()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(hc.CloseIdleConnections)
	if lapsed {
		certPEM, keyPEM, err := s.gw.IssueClient(-time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		pair, err := tls.X509KeyPair(certPEM, keyPEM)
		if err != nil {
			t.Fatal(err)
		}
		tr := hc.Transport.(*http.Transport)
		tr.TLSClientConfig.Certificates = []tls.Certificate{pair}
		tr.DialContext = gateway.HearAlerts(tr.DialContext)
		tr.ForceAttemptHTTP2 = false // with HTTP/2, net/http does not report an alert that comes before the first request
	}
	if way != nil {
		hc.Transport = way(hc.Transport)
	}
	c, err := gateway.New(gateway.Config{
		URL: s.gw.URL(), CAID: s.gw.CAID(), ProfileID: s.gw.Profile(), Dialect: s.dialect, ProfileValidity: s.profiles,
	}, hc, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// newCSR makes a request whose common name begins with the prefix. The simulator decides by the
// prefix what to do.
func (s *simulator) newCSR(t *testing.T, prefix string) *x509.CertificateRequest {
	t.Helper()
	s.n++
	name := fmt.Sprintf("%s-%d.example.net", prefix, s.n)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}}, key)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	return csr
}

// TestSubjectsArriveAsTheyAre enrolls with attributes that have no name in RFC 2253.
func TestSubjectsArriveAsTheyAre(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	subject := pkix.Name{CommonName: "#1 shop, Ltd.", ExtraNames: []pkix.AttributeTypeAndValue{
		{Type: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}, Value: "me@example.net"},
		{Type: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99, 1}, Value: "forty-two"},
	}}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: subject}, key)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	sim := startSimulator(t, gatewaytest.Config{Dialect: gatewaytest.CAGW})
	a, err := sim.good.Enroll(t.Context(), gateway.Enrollment{CSR: csr})
	if err != nil {
		t.Fatal(err)
	}
	cert, err := gateway.CheckIssued(a, gateway.Expectation{PublicKey: csr.PublicKey, CommonName: csr.Subject.CommonName})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := cert.Subject.String(), csr.Subject.String(); got != want {
		t.Errorf("subject %q, asked for %q", got, want)
	}
}

// TestWrongCertificatesAreRefused has the gateway issue certificates that were not requested.
func TestWrongCertificatesAreRefused(t *testing.T) {
	t.Parallel()
	for _, dialect := range []gatewaytest.Dialect{gatewaytest.CertCtl, gatewaytest.CAGW} {
		t.Run(string(dialect), func(t *testing.T) {
			t.Parallel()
			for kind, problem := range map[gatewaytest.Kind]string{
				gatewaytest.FaultWrongKey:   "the public key",
				gatewaytest.FaultWrongNames: "the requested dNSName",
				gatewaytest.FaultExpired:    "it ended at",
			} {
				sim := startSimulator(t, gatewaytest.Config{Dialect: dialect, Faults: []gatewaytest.Fault{{Kind: kind}}})
				csr := sim.newCSR(t, "issue")
				a, err := sim.good.Enroll(t.Context(), gateway.Enrollment{CSR: csr})
				if err != nil {
					t.Fatal(err)
				}
				cert, err := gateway.CheckIssued(a, gateway.Expectation{
					PublicKey: csr.PublicKey, SANs: []gateway.SAN{{Type: gateway.SANDNS, Value: csr.DNSNames[0]}},
				})
				mismatch, ok := errors.AsType[*gateway.MismatchError](err)
				if !ok || cert != nil || !strings.Contains(mismatch.Problem, problem) {
					t.Errorf("%s: %v, want a mismatch with %q", kind, err, problem)
					continue
				}
				// The serial in the error suffices to revoke the wrong certificate.
				serial, ok := new(big.Int).SetString(mismatch.Serial, 16)
				if !ok {
					t.Fatalf("%s: serial %q", kind, mismatch.Serial)
				}
				if err := sim.good.Revoke(t.Context(), gateway.Revocation{Serial: serial, Reason: "superseded"}); err != nil {
					t.Errorf("%s: revoking %s: %v", kind, mismatch.Serial, err)
				}
			}
		})
	}
}

// TestAutoAgainstTheSimulator takes an order through its whole life with DialectAuto.
func TestAutoAgainstTheSimulator(t *testing.T) {
	t.Parallel()
	for _, cfg := range []gatewaytest.Config{
		{Dialect: gatewaytest.CertCtl},
		{Dialect: gatewaytest.CAGW, CAIDs: []string{"part 1~issuing/ca"}, SerialDigits: 40},
		{Dialect: gatewaytest.CAGW, EventFlag: "hasMore", EventPageSize: 1, EmptyEventPages: 3},
	} {
		sim := startSimulator(t, cfg)
		sim.dialect = gateway.DialectAuto
		c := sim.client(t, nil, false)
		sim.gw.SetDown(true)
		if _, err := c.Enroll(t.Context(), gateway.Enrollment{CSR: sim.newCSR(t, "issue")}); gateway.FateOf(err) != gateway.NotAccepted {
			t.Errorf("while the gateway is down: %v, want NotAccepted", err)
		}
		sim.gw.SetDown(false)

		csr := sim.newCSR(t, "hold")
		since := time.Now()
		order, err := c.Enroll(t.Context(), gateway.Enrollment{CSR: csr, Validity: 48 * time.Hour})
		if err != nil || order.State != gateway.Pending {
			t.Fatalf("%s: %v, %v", cfg.Dialect, order.State, err)
		}
		if got := c.Dialect(); got != gateway.Dialect(cfg.Dialect) {
			t.Fatalf("the dialect is %q, auto says %q", cfg.Dialect, got)
		}
		find := func() (gateway.Answer, bool) {
			a, found, err := c.Find(t.Context(), gateway.Search{CSR: csr, Since: since})
			if err != nil && (c.CanFind() || !errors.Is(err, gateway.ErrNoLookup)) {
				t.Errorf("%s: Find: %v", cfg.Dialect, err)
			}
			return a, found
		}
		if _, found := find(); found {
			t.Errorf("%s: a pending order was found as issued", cfg.Dialect)
		}
		if err := sim.gw.Approve(order.TrackingID); err != nil {
			t.Fatal(err)
		}
		a, err := c.Poll(t.Context(), gateway.Poll{TrackingID: order.TrackingID, SubmittedAt: since, CSR: func() *x509.CertificateRequest { return csr }})
		if err != nil {
			t.Fatal(err)
		}
		want := gateway.Expectation{PublicKey: csr.PublicKey, SANs: []gateway.SAN{{Type: gateway.SANDNS, Value: csr.DNSNames[0]}}}
		cert, err := gateway.CheckIssued(a, want)
		if err != nil {
			t.Fatal(err)
		}
		if life := cert.NotAfter.Sub(cert.NotBefore); cfg.Dialect == gatewaytest.CAGW && life > 50*time.Hour {
			t.Errorf("valid for %s, asked for 48h", life)
		}
		if cert.Subject.String() != csr.Subject.String() {
			t.Errorf("subject %q, asked for %q", cert.Subject, csr.Subject)
		}
		a, found := find()
		if found != c.CanFind() {
			t.Errorf("%s: found %v", cfg.Dialect, found)
		}
		if found {
			if same, err := gateway.CheckIssued(a, want); err != nil || !same.Equal(cert) {
				t.Errorf("%s: another certificate was found, %v", cfg.Dialect, err)
			}
		}
		for range 2 { // a revocation is safe to repeat
			if err := c.Revoke(t.Context(), gateway.Revocation{Serial: cert.SerialNumber, Reason: "keyCompromise", Comment: "test"}); err != nil {
				t.Errorf("%s: %v", cfg.Dialect, err)
			}
		}
		if got := sim.gw.Revocations(); len(got) == 0 {
			t.Errorf("%s: nothing was revoked", cfg.Dialect)
		}
	}
}
