package gatewaytest_test

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"software.sslmate.com/src/go-pkcs12"
)

func setupNested(t *testing.T) *env {
	return setup(t, gatewaytest.Config{Dialect: gatewaytest.CAGW, BasePath: "/cagw"})
}

// chainOf fetches the chain of the CA in the way of the gateway's clients.
func (e *env) chainOf() []*x509.Certificate {
	e.t.Helper()
	r := e.must("GET", e.ca("?%24fields=ca.certificate,ca.chain"), nil, 200)
	got := decode[struct {
		CA struct {
			ID          string
			Certificate struct{ CertificateData string }
			Chain       []struct{ CertificateData string }
		}
	}](e.t, r)
	if got.CA.ID != e.gw.CAID() {
		e.t.Fatalf("got CA %q", got.CA.ID)
	}
	chain := []*x509.Certificate{parseDER(e.t, got.CA.Certificate.CertificateData)}
	for _, c := range got.CA.Chain {
		chain = append(chain, parseDER(e.t, c.CertificateData))
	}
	return chain
}

func TestNestedX509(t *testing.T) {
	t.Parallel()
	e := setupNested(t)
	body := request(csrOf(t, "ignored.example.net"))
	body["optionalCertificateRequestDetails"] = map[string]any{
		"subjectDn": `CN=shop.example.net,O=Example\, Inc.,C=DE`, "validityPeriod": "P30D",
	}
	body["subjectAltNames"] = []map[string]string{
		{"type": "dNSName", "value": "shop.example.net"}, {"type": "iPAddress", "value": "192.0.2.7"},
	}
	got := e.enrollNested(body, 200)
	if got.Type != "EnrollmentResponse" || got.Enrollment.Status != "ACCEPTED" || got.Message.Message != "Enrollment was successful." {
		t.Errorf("got %+v", got)
	}
	if len(got.Enrollment.Chain) != 0 {
		t.Error("the chain came without being asked for")
	}
	cert := parseDER(t, got.Enrollment.Body)
	if err := verify(t, cert, e.chainOf()); err != nil {
		t.Errorf("chain: %v", err)
	}
	if got, want := cert.Subject.String(), `CN=shop.example.net,O=Example\, Inc.,C=DE`; got != want {
		t.Errorf("got subject %q, want %q", got, want)
	}
	if life := cert.NotAfter.Sub(cert.NotBefore); life != 30*24*time.Hour {
		t.Errorf("got a validity of %v, want 30 days", life)
	}
	if !slices.Equal(cert.DNSNames, []string{"shop.example.net"}) || len(cert.IPAddresses) != 1 {
		t.Errorf("got names %q and %v", cert.DNSNames, cert.IPAddresses)
	}
	if got.Enrollment.SerialNumber != hex.EncodeToString(cert.SerialNumber.Bytes()) {
		t.Errorf("got serial %q, want %x", got.Enrollment.SerialNumber, cert.SerialNumber)
	}
	start, end, _ := strings.Cut(got.Enrollment.ValidityPeriod, "/")
	if start != cert.NotBefore.Format(time.RFC3339) || end != cert.NotAfter.Format(time.RFC3339) {
		t.Errorf("got validity period %q", got.Enrollment.ValidityPeriod)
	}
}

func TestNestedFormats(t *testing.T) {
	t.Parallel()
	e := setupNested(t)

	t.Run("PEM with chain", func(t *testing.T) {
		body := request(csrOf(t, "a.example.net"))
		body["requiredFormat"] = map[string]any{"format": "PEM"}
		body["includeCa"] = true
		got := e.enrollNested(body, 200)
		cert := parsePEM(t, got.Enrollment.Body)[0]
		if cert.Subject.CommonName != "a.example.net" {
			t.Errorf("got subject %q, want the request's", cert.Subject)
		}
		if len(cert.DNSNames) != 0 {
			t.Errorf("got names %q: the nested dialect takes none from the request unasked", cert.DNSNames)
		}
		if len(got.Enrollment.Chain) != 2 {
			t.Fatalf("got a chain of %d, want 2", len(got.Enrollment.Chain))
		}
		issuer := parseDER(t, got.Enrollment.Chain[0].CertificateData)
		if err := cert.CheckSignatureFrom(issuer); err != nil {
			t.Error(err)
		}
	})

	t.Run("names from the request", func(t *testing.T) {
		body := request(csrOf(t, "a.example.net", "b.example.net"))
		body["optionalCertificateRequestDetails"] = map[string]any{"useSANFromCSR": true}
		cert := parseDER(t, e.enrollNested(body, 200).Enrollment.Body)
		if want := []string{"a.example.net", "b.example.net"}; !slices.Equal(cert.DNSNames, want) {
			t.Errorf("got names %q, want %q", cert.DNSNames, want)
		}
	})

	t.Run("PKCS12", func(t *testing.T) {
		// As the Vault plugin sends it: no CSR, subject variables, a validity in minutes.
		body := map[string]any{
			"profileId": "tls-server",
			"requiredFormat": map[string]any{
				"format": "PKCS12", "protection": map[string]any{"type": "PasswordProtection", "password": "pw"},
			},
			"subjectVariables":                  []map[string]string{{"type": "cn", "value": "p12.example.net"}, {"type": "o", "value": "Example"}},
			"optionalCertificateRequestDetails": map[string]any{"validityPeriod": "PT90M"},
		}
		got := e.enrollNested(body, 200)
		if got.Enrollment.SerialNumber != "" || got.Enrollment.ValidityPeriod != "" {
			t.Error("serial and validity are not given with PKCS12")
		}
		raw, err := base64.StdEncoding.DecodeString(got.Enrollment.Body)
		if err != nil {
			t.Fatal(err)
		}
		_, cert, chain, err := pkcs12.DecodeChain(raw, "pw")
		if err != nil {
			t.Fatal(err)
		}
		if err := verify(t, cert, chain); err != nil {
			t.Errorf("chain: %v", err)
		}
		if got := cert.Subject.String(); got != "CN=p12.example.net,O=Example" {
			t.Errorf("got subject %q", got)
		}
		if life := cert.NotAfter.Sub(cert.NotBefore); life != 90*time.Minute {
			t.Errorf("got a validity of %v, want 90 minutes", life)
		}
	})

	t.Run("names of every type", func(t *testing.T) {
		body := request(csrOf(t, "a.example.net"))
		other := "oBgGCisGAQQBgjcUAgOgCgwIYUBiLmNvbQ==" // otherName, a UPN
		raw, err := base64.StdEncoding.DecodeString(other)
		if err != nil {
			t.Fatal(err)
		}
		raw[1] = byte(len(raw) - 2)
		body["subjectAltNames"] = []map[string]string{
			{"type": "rfc822Name", "value": "a@example.net"},
			{"type": "uniformResourceIdentifier", "value": "https://example.net/x"},
			{"type": "registeredID", "value": "1.2.3.4"},
			{"type": "directoryName", "value": "CN=x,O=y"},
			{"type": "otherName", "der": base64.StdEncoding.EncodeToString(raw)},
		}
		cert := parseDER(t, e.enrollNested(body, 200).Enrollment.Body)
		if len(cert.EmailAddresses) != 1 || len(cert.URIs) != 1 {
			t.Errorf("got %q and %v", cert.EmailAddresses, cert.URIs)
		}
		var san []byte
		for _, ext := range cert.Extensions {
			if ext.Id.String() == "2.5.29.17" {
				san = ext.Value
			}
		}
		for name, want := range map[string]string{
			"registeredID": "88032a0304", "directoryName": "a41a3018", "otherName": hex.EncodeToString(raw),
		} {
			if !strings.Contains(hex.EncodeToString(san), want) {
				t.Errorf("%s is missing in %x", name, san)
			}
		}
	})
}

func TestNestedPending(t *testing.T) {
	t.Parallel()
	e := setupNested(t)
	got := e.enrollNested(request(csrOf(t, "hold-a.example.net")), 201)
	if got.Enrollment.Status != "PENDING" || got.Enrollment.Body != "" || len(got.Enrollment.ID) != 36 {
		t.Fatalf("got %+v, want it pending under a UUID", got.Enrollment)
	}
	path := e.ca("/enrollments/" + got.Enrollment.ID)
	if again := decode[nested](t, e.must("GET", path, nil, 200)); again.Enrollment.Status != "PENDING" || again.Enrollment.Body != "" {
		t.Errorf("got %+v", again.Enrollment)
	}
	if err := e.gw.Approve(got.Enrollment.ID); err != nil {
		t.Fatal(err)
	}
	done := decode[nested](t, e.must("GET", path, nil, 200))
	parseDER(t, done.Enrollment.Body)
	if done.Enrollment.Status != "ACCEPTED" {
		t.Errorf("got status %q", done.Enrollment.Status)
	}
}

func TestNestedRefusals(t *testing.T) {
	t.Parallel()
	e := setupNested(t)
	with := func(change func(map[string]any)) map[string]any {
		body := request(csrOf(t, "a.example.net"))
		change(body)
		return body
	}
	details := func(key, value string) map[string]any {
		return with(func(b map[string]any) { b["optionalCertificateRequestDetails"] = map[string]any{key: value} })
	}
	csr := csrOf(t, "a.example.net")
	tests := []struct {
		name   string
		body   map[string]any
		target string
	}{
		{"PEM request", with(func(b map[string]any) { b["csr"] = armour(csr) }), "csr"},
		{"base64 with line ends", with(func(b map[string]any) { b["csr"] = base64.StdEncoding.EncodeToString(csr)[:64] + "\n" }), "csr"},
		{"not a request", with(func(b map[string]any) { b["csr"] = "AAAA" }), "csr"},
		{"no profile", with(func(b map[string]any) { delete(b, "profileId") }), "profileId"},
		{"unknown profile", with(func(b map[string]any) { b["profileId"] = "nope" }), "profileId"},
		{"no format", with(func(b map[string]any) { delete(b, "requiredFormat") }), "requiredFormat"},
		{"unknown format", with(func(b map[string]any) { b["requiredFormat"] = map[string]string{"format": "PKCS7"} }), "requiredFormat.format"},
		{"bad name", with(func(b map[string]any) {
			b["subjectAltNames"] = []map[string]string{{"type": "dNSName", "value": "192.0.2.7:80"}}
		}), "subjectAltNames"},
		{"bad DN", details("subjectDn", "shop.example.net"), "optionalCertificateRequestDetails.subjectDn"},
		{"bad validity", details("validityPeriod", "90 days"), "optionalCertificateRequestDetails.validityPeriod"},
		{"too long", details("validityPeriod", "P20Y"), "optionalCertificateRequestDetails.validityPeriod"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := e.must("POST", e.ca("/enrollments"), tt.body, 400)
			got := decode[struct {
				Type  string
				Error struct{ Code, Message, Target string }
			}](t, r)
			if got.Type != "ErrorResponse" || !strings.HasPrefix(got.Error.Code, "cagw-") || got.Error.Target != tt.target {
				t.Errorf("got %s, want an error about %s", r.body, tt.target)
			}
		})
	}
	r := e.must("POST", "/nope/enrollments", request(csr), 404)
	if !strings.Contains(string(r.body), `"cagw-4018"`) {
		t.Errorf("unknown CA: got %s", r.body)
	}
	if n := e.gw.Stats().Enrolled; n != 0 {
		t.Errorf("%d refused requests were enrolled", n)
	}
}

func TestNestedCAs(t *testing.T) {
	t.Parallel()
	e := setup(t, gatewaytest.Config{
		Dialect: gatewaytest.CAGW, CAIDs: []string{"one~a", "two/b"}, Profiles: []string{"p1", "p2"},
	})
	type cas struct {
		Type   string
		CAList []struct {
			ID          string
			Certificate *struct{ CertificateData string }
		}
	}
	bare := decode[cas](t, e.must("GET", "", nil, 200))
	if bare.Type != "CAListResponse" || len(bare.CAList) != 2 || bare.CAList[0].Certificate != nil {
		t.Errorf("got %+v", bare)
	}
	full := decode[cas](t, e.must("GET", "?%24fields=caList.certificate.certificateData", nil, 200))
	parseDER(t, full.CAList[1].Certificate.CertificateData)

	second := "/" + url.PathEscape("two/b")
	body := request(csrOf(t, "a.example.net"))
	body["profileId"] = "p1"
	got := decode[nested](t, e.must("POST", second+"/enrollments", body, 200))
	// One CA does not know an order of the other.
	e.must("GET", second+"/enrollments/"+got.Enrollment.ID, nil, 200)
	e.must("GET", "/one~a/enrollments/"+got.Enrollment.ID, nil, 404)
	e.must("GET", "/one~a/certificates/"+got.Enrollment.SerialNumber, nil, 404)
}

func TestBothDialects(t *testing.T) {
	t.Parallel()
	e := setup(t, gatewaytest.Config{Dialect: gatewaytest.Both})
	one := e.enrollFlat(csrOf(t, "a.example.net"), 200)
	two := e.enrollNested(request(csrOf(t, "b.example.net")), 200)
	parsePEM(t, one.Certificate)
	parseDER(t, two.Enrollment.Body)
	e.pollFlat(one.TrackingID)
	broken := csrOf(t, "a.example.net")
	broken[len(broken)-1] ^= 1
	for _, r := range []reply{
		e.must("GET", e.ca("/enrollments/ENR-1-1"), nil, 404),
		e.must("POST", e.ca("/enrollments"), map[string]any{"csr": armour(broken)}, 400),
	} {
		if decode[map[string]string](t, r)["error"] == "" {
			t.Errorf("got %s, want the flat error", r.body)
		}
	}
}
