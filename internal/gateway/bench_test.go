package gateway

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"testing"
	"time"
)

// This benchmark reads one issued answer in the certctl dialect, chain included, and checks it
// against the request. Compare runs with benchstat.
func BenchmarkAnswer(b *testing.B) {
	ca := newTestCA(b)
	key := newKey(b)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"a.example.net"}}, key)
	if err != nil {
		b.Fatal(err)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		b.Fatal(err)
	}
	leaf := ca.issue(csr, nil)
	body, err := json.Marshal(map[string]string{
		"trackingId": "1", "status": "ISSUED", "certificate": pemOf(leaf), "chain": pemOf(ca.issuing, ca.root),
	})
	if err != nil {
		b.Fatal(err)
	}
	d := certctl{new(chainTexts)}
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := d.order(body); err != nil {
				b.Fatal(err)
			}
		}
	})
	o, err := d.order(body)
	if err != nil {
		b.Fatal(err)
	}
	a := Answer{State: Issued, Certificate: leaf.Raw, leaf: o.certificate.certs[0]}
	known := new(links)
	b.Run("check", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if path, _ := known.above(a.leaf, o.chain, time.Now()); len(path) != 2 {
				b.Fatalf("%d certificates above the leaf, want 2", len(path))
			}
			if _, err := CheckIssued(a, Expectation{SPKI: csr.RawSubjectPublicKeyInfo}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkTriage(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_ = judge(OpEnroll, phaseAnswered, http.StatusServiceUnavailable, meansForeign)
	}
}
