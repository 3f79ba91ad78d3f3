package entrustbus_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"slices"
	"strings"
	"testing"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/entrustbus/entrustbustest"
)

func TestIssueCertificateRequest(t *testing.T) {
	t.Parallel()
	text, der := testdata(t, "request.pem"), csrDER(t)
	for name, r := range map[string]*entrustbus.Issue{
		"PEM":               {ID: "a", CSRPEM: text},
		"DER":               {ID: "a", CSRDER: der},
		"NEW in the label":  {ID: "a", CSRPEM: strings.ReplaceAll(text, "CERTIFICATE", "NEW CERTIFICATE")},
		"blanks around":     {ID: "a", CSRPEM: "\r\n " + text + "\n\n"},
		"CRLF":              {ID: "a", CSRPEM: strings.ReplaceAll(text, "\n", "\r\n")},
		"no newline at end": {ID: "a", CSRPEM: strings.TrimSpace(text)},
		"common name":       {ID: "a", CSRPEM: text, CommonName: "shop.example.net"},
	} {
		if err := r.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		csr, err := r.CertificateRequest()
		if err != nil || !slices.Equal(csr.Raw, der) {
			t.Errorf("%s: got another certificate request, %v", name, err)
		}
		if again, _ := r.CertificateRequest(); again != csr {
			t.Errorf("%s: the certificate request was parsed twice", name)
		}
	}
}

// A copy that is given another certificate request must not answer with the one it was copied with.
func TestIssueCopies(t *testing.T) {
	t.Parallel()
	otherDER, otherPEM := entrustbustest.CSR("other.example.net")
	first := entrustbus.Issue{ID: "a", CSRPEM: testdata(t, "request.pem")}
	if err := first.Validate(); err != nil {
		t.Fatal(err)
	}
	byPEM, byDER := first, first
	byPEM.CSRPEM = otherPEM
	byDER.CSRPEM, byDER.CSRDER = "", otherDER
	for name, r := range map[string]*entrustbus.Issue{"PEM": &byPEM, "DER": &byDER} {
		csr, err := r.CertificateRequest()
		if err != nil || csr.Subject.CommonName != "other.example.net" {
			t.Errorf("%s: got %v, %v", name, csr, err)
		}
	}
	if err := byDER.Validate(); err != nil {
		t.Fatal(err)
	}
	byDER.CSRDER[len(byDER.CSRDER)-1] ^= 1 // in place: the same slice, another signature
	if _, err := byDER.CertificateRequest(); err == nil {
		t.Error("a certificate request that was changed after Validate was taken unseen")
	}
}

func TestIssueNames(t *testing.T) {
	t.Parallel()
	text := testdata(t, "request.pem")
	own := []entrustbus.SAN{
		{Type: entrustbus.SANDNS, Value: "shop.example.net"},
		{Type: entrustbus.SANIP, Value: "192.0.2.7"},
		{Type: entrustbus.SANEmail, Value: "pki@example.net"},
		{Type: entrustbus.SANURI, Value: "spiffe://example.net/shop"},
	}
	_, bare := entrustbustest.CSR() // neither a common name nor alternative names
	for _, row := range []struct {
		name string
		r    entrustbus.Issue
		want []entrustbus.SAN
	}{
		{"of the certificate request", entrustbus.Issue{CSRPEM: text}, own},
		{"none", entrustbus.Issue{CSRPEM: bare}, nil},
		{"sans replace them", entrustbus.Issue{CSRPEM: text, SANs: []string{"B.example.net", "dns:a.example.net", "b.example.net", "::ffff:192.0.2.1"}}, []entrustbus.SAN{
			{Type: entrustbus.SANDNS, Value: "b.example.net"}, // once, and where it came first
			{Type: entrustbus.SANDNS, Value: "a.example.net"},
			{Type: entrustbus.SANIP, Value: "192.0.2.1"},
		}},
	} {
		got, err := row.r.Names()
		if err != nil || !slices.EqualFunc(got, row.want, equalSAN) {
			t.Errorf("%s: got %v, %v, want %v", row.name, got, err, row.want)
		}
	}
}

func equalSAN(a, b entrustbus.SAN) bool {
	return a.Type == b.Type && a.Value == b.Value && string(a.DER) == string(b.DER)
}

// crypto/x509 drops names of types it does not know; a request for one must not look like a request for none.
func TestNamesOfOtherTypes(t *testing.T) {
	t.Parallel()
	registeredID := []byte{0x88, 2, 0x2a, 3}
	r := signed(t, pkix.Extension{Id: []int{2, 5, 29, 17}, Value: append([]byte{0x30, 4}, registeredID...)})
	got, err := r.Names()
	want := []entrustbus.SAN{{Type: entrustbus.SANOther, DER: registeredID}}
	if err != nil || !slices.EqualFunc(got, want, equalSAN) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	for name, value := range map[string][]byte{
		"a name outside the class": {0x30, 3, 0x02, 1, 'a'},
		"an empty DNS name":        {0x30, 2, 0x82, 0},
		"a DNS name with a blank":  {0x30, 3, 0x82, 1, ' '},
		"an address of 5 bytes":    {0x30, 7, 0x87, 5, 1, 2, 3, 4, 5},
	} {
		if err := signed(t, pkix.Extension{Id: []int{2, 5, 29, 17}, Value: value}).Validate(); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func signed(t *testing.T, extensions ...pkix.Extension) *entrustbus.Issue {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{ExtraExtensions: extensions}, key)
	if err != nil {
		t.Fatal(err)
	}
	return &entrustbus.Issue{ID: "a", CSRDER: der}
}

// The public key of 65,536 bits is cheap to send and dear to compute with, so it must be refused before the signature.
func TestHugeRSAKey(t *testing.T) {
	t.Parallel()
	r := signed(t)
	csr, err := r.CertificateRequest()
	if err != nil {
		t.Fatal(err)
	}
	modulus := csr.PublicKey.(*rsa.PublicKey).N
	modulus.Lsh(modulus, 65536-2048).SetBit(modulus, 0, 1)
	info, err := x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: modulus, E: 65537})
	if err != nil {
		t.Fatal(err)
	}
	forged := forge(t, info)
	err = (&entrustbus.Issue{ID: "a", CSRPEM: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: forged}))}).Validate()
	wantField(t, "huge key", err, "csr_pem")
	if err != nil && !strings.Contains(err.Error(), "16384") {
		t.Errorf("refused for another reason: %v", err)
	}
}

// A common name that only repeats the certificate request has a bound all the same: the schema says so.
func TestCommonNameIsBounded(t *testing.T) {
	t.Parallel()
	for length, field := range map[int]string{entrustbus.MaxNameBytes: "", entrustbus.MaxNameBytes + 1: "common_name"} {
		name := strings.Repeat("a", length)
		der, _ := entrustbustest.CSR(name)
		r := &entrustbus.Issue{ID: "a", CSRDER: der, SANs: []string{"a.example"}, CommonName: name}
		if err := r.Validate(); field != "" {
			wantField(t, "a long one", err, field)
		} else if err != nil {
			t.Errorf("the longest: %v", err)
		}
	}
}

// csrOf makes a certificate request with a common name and no other.
func csrOf(t *testing.T, name string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}
