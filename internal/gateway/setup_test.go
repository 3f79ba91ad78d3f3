package gateway

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// testCA is a root with an issuing CA below it.
type testCA struct {
	t          testing.TB
	root       *x509.Certificate
	issuing    *x509.Certificate
	rootKey    *ecdsa.PrivateKey
	issuingKey *ecdsa.PrivateKey
}

func newTestCA(t testing.TB) *testCA {
	t.Helper()
	ca := &testCA{t: t, rootKey: newKey(t), issuingKey: newKey(t)}
	ca.root = ca.authority("Root", ca.rootKey.Public(), nil, ca.rootKey, time.Now().AddDate(10, 0, 0))
	ca.issuing = ca.authority("Issuing", ca.issuingKey.Public(), ca.root, ca.rootKey, time.Now().AddDate(5, 0, 0))
	return ca
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (ca *testCA) authority(name string, pub crypto.PublicKey, parent *x509.Certificate, key crypto.Signer, notAfter time.Time) *x509.Certificate {
	ca.t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		// Before the year 2000, in which the time of a synctest bubble begins.
		NotBefore: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: notAfter,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	if parent == nil {
		parent = template
	}
	return ca.sign(template, parent, pub, key)
}

func (ca *testCA) sign(template, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	ca.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, key)
	if err != nil {
		ca.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		ca.t.Fatal(err)
	}
	return cert
}

// issue signs a certificate for the CSR's key and names. change may edit the template.
func (ca *testCA) issue(csr *x509.CertificateRequest, change func(*x509.Certificate)) *x509.Certificate {
	ca.t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(0x1234abcd), Subject: csr.Subject,
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().AddDate(0, 3, 0),
		DNSNames: csr.DNSNames, IPAddresses: csr.IPAddresses, EmailAddresses: csr.EmailAddresses, URIs: csr.URIs,
	}
	if change != nil {
		change(template)
	}
	return ca.sign(template, ca.issuing, csr.PublicKey, ca.issuingKey)
}

func newCSR(t testing.TB, names ...string) *x509.CertificateRequest {
	t.Helper()
	template := &x509.CertificateRequest{Subject: pkix.Name{CommonName: "shop.example.net", Organization: []string{"Example, Inc."}}}
	for _, name := range names {
		if addr, err := netip.ParseAddr(name); err == nil {
			template.IPAddresses = append(template.IPAddresses, addr.AsSlice())
			continue
		}
		template.DNSNames = append(template.DNSNames, name)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	return csr
}

func b64(cert *x509.Certificate) string { return base64.StdEncoding.EncodeToString(cert.Raw) }

func pemOf(certs ...*x509.Certificate) string {
	var b strings.Builder
	for _, cert := range certs {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
	}
	return b.String()
}

func asJSON(t testing.TB, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// jsonMap keeps literals of JSON objects short.
type jsonMap = map[string]any

// newClient starts a TLS server with the handler and returns a client of it. It sets the
// configuration's URL, CA and profile if they are empty.
func newClient(t testing.TB, cfg Config, handler http.HandlerFunc) *Client {
	t.Helper()
	return newClientLogging(t, cfg, nil, handler)
}

func newClientLogging(t testing.TB, cfg Config, log *slog.Logger, handler http.HandlerFunc) *Client {
	t.Helper()
	srv := httptest.NewUnstartedServer(handler)
	srv.EnableHTTP2 = true
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	cfg.URL = srv.URL + cfg.URL
	if cfg.CAID == "" {
		cfg.CAID = "ca-1"
	}
	if cfg.ProfileID == "" {
		cfg.ProfileID = "tls-server"
	}
	c, err := New(cfg, srv.Client(), log)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// always answers every request in the same way, after reading it.
func always(status int, body string) http.HandlerFunc {
	answer := early(status, body)
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Body != nil {
			_, _ = io.Copy(io.Discard, r.Body)
		}
		answer(w, r)
	}
}

// early answers every request in the same way, before reading it.
func early(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}
