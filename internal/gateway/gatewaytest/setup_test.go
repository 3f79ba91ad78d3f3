package gatewaytest_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
)

// env is a running gateway with a client for it.
type env struct {
	t  testing.TB
	gw *gatewaytest.Server
	hc *http.Client
}

func setup(t testing.TB, cfg gatewaytest.Config) *env {
	t.Helper()
	gw, err := gatewaytest.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	hc, err := gw.Client()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		hc.CloseIdleConnections()
		if err := gw.Close(); err != nil {
			t.Errorf("closing gateway: %v", err)
		}
	})
	return &env{t, gw, hc}
}

// reply is a completely read answer.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// ask sends a request and returns the answer, or the error of sending or reading it.
func (e *env) ask(method, path string, body any) (reply, error) {
	e.t.Helper()
	var in io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			e.t.Fatal(err)
		}
		in = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(e.t.Context(), method, e.gw.URL()+"/v1/certificate-authorities"+path, in)
	if err != nil {
		e.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := e.hc.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, data}, err
}

// must is ask for a request that must get an answer with the wanted status.
func (e *env) must(method, path string, body any, status int) reply {
	e.t.Helper()
	r, err := e.ask(method, path, body)
	if err != nil {
		e.t.Fatalf("%s %s: %v", method, path, err)
	}
	if r.status != status {
		e.t.Fatalf("%s %s: got %d %s, want %d", method, path, r.status, r.body, status)
	}
	return r
}

// ca is the path of the first CA.
func (e *env) ca(rest string) string { return "/" + e.gw.CAID() + rest }

// flat is an answer of the certctl dialect.
type flat struct {
	TrackingID, Status, Certificate, Chain string
}

// enrollFlat enrolls in the certctl dialect.
func (e *env) enrollFlat(csr []byte, status int) flat {
	e.t.Helper()
	r := e.must("POST", e.ca("/enrollments"), map[string]any{"csr": armour(csr)}, status)
	return decode[flat](e.t, r)
}

// pollFlat polls in the certctl dialect.
func (e *env) pollFlat(id string) flat {
	e.t.Helper()
	return decode[flat](e.t, e.must("GET", e.ca("/enrollments/"+id), nil, 200))
}

// nested is an answer of the cagw dialect.
type nested struct {
	Type       string
	Message    struct{ Message string }
	Enrollment struct {
		ID, SerialNumber, SubjectName, IssuerName, ValidityPeriod, Status, Body string
		Chain                                                                   []struct{ CertificateData string }
	}
}

// request returns a complete enrollment request of the cagw dialect; callers may change it.
func request(csr []byte) map[string]any {
	return map[string]any{
		"profileId":      "tls-server",
		"requiredFormat": map[string]any{"format": "X509"},
		"csr":            base64.StdEncoding.EncodeToString(csr),
	}
}

func (e *env) enrollNested(body map[string]any, status int) nested {
	e.t.Helper()
	return decode[nested](e.t, e.must("POST", e.ca("/enrollments"), body, status))
}

func decode[T any](t testing.TB, r reply) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(r.body, &v); err != nil {
		t.Fatalf("answer %q: %v", r.body, err)
	}
	return v
}

// newCSR makes a key and a request for the names. The first name is also the common name.
func newCSR(t testing.TB, names ...string) (der []byte, key crypto.Signer) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.CertificateRequest{Subject: pkix.Name{CommonName: names[0]}, DNSNames: names}
	der, err = x509.CreateCertificateRequest(rand.Reader, tmpl, k)
	if err != nil {
		t.Fatal(err)
	}
	return der, k
}

func csrOf(t testing.TB, names ...string) []byte {
	t.Helper()
	der, _ := newCSR(t, names...)
	return der
}

func armour(csr []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr}))
}

// keyHash returns the name of a request's key in reports.
func keyHash(t testing.TB, csr []byte) string {
	t.Helper()
	req, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		t.Fatal(err)
	}
	return gatewaytest.KeyHash(req.RawSubjectPublicKeyInfo)
}

func parsePEM(t testing.TB, text string) []*x509.Certificate {
	t.Helper()
	var certs []*x509.Certificate
	for rest := []byte(text); len(bytes.TrimSpace(rest)) > 0; {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			t.Fatalf("not PEM: %q", text)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		t.Fatal("no certificate")
	}
	return certs
}

func parseDER(t testing.TB, text string) *x509.Certificate {
	t.Helper()
	der, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatalf("certificate is not base64: %v", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// verify checks a certificate against its chain, intermediate first.
func verify(t testing.TB, cert *x509.Certificate, chain []*x509.Certificate) error {
	t.Helper()
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	between.AddCert(chain[0])
	roots.AddCert(chain[len(chain)-1])
	_, err := cert.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	return err
}

// use makes a client use another key pair, on new connections.
func use(t testing.TB, hc *http.Client, certPEM, keyPEM []byte) {
	t.Helper()
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	tr := hc.Transport.(*http.Transport).Clone()
	tr.TLSClientConfig.Certificates = []tls.Certificate{pair}
	hc.CloseIdleConnections()
	hc.Transport = tr
}

// eventually calls check until it returns nil, for at most 10 s.
func eventually(t testing.TB, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waiting for %s: %v", what, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// readAll reads an answer to its end and closes it.
func readAll(resp *http.Response) ([]byte, error) {
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}
