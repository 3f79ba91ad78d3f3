package gateway

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// pkcs7Of writes a PKCS#7 SignedData that holds only the certificates.
func pkcs7Of(t testing.TB, certs ...*x509.Certificate) []byte {
	t.Helper()
	var all []byte
	for _, cert := range certs {
		all = append(all, cert.Raw...)
	}
	seq := func(parts ...[]byte) []byte {
		return mustMarshal(t, asn1.RawValue{Tag: 16, IsCompound: true, Bytes: slices.Concat(parts...)})
	}
	context0 := func(inside []byte) []byte {
		return mustMarshal(t, asn1.RawValue{Class: 2, IsCompound: true, Bytes: inside})
	}
	set := []byte{0x31, 0}
	data := mustMarshal(t, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1})
	signed := mustMarshal(t, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2})
	return seq(signed, context0(seq([]byte{2, 1, 1}, set, seq(data), context0(all), set)))
}

func armoured(label string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der}))
}

// TestCertificateIsWorthMoreThanItsChain checks that a good certificate counts as issued
// whatever the gateway writes around it, with the part of the chain that links.
func TestCertificateIsWorthMoreThanItsChain(t *testing.T) {
	t.Parallel()
	ca, other := newTestCA(t), newTestCA(t)
	csr := newCSR(t)
	leaf := ca.issue(csr, nil)
	chain := pemOf(ca.issuing, ca.root)
	cross := ca.authority("Root", ca.rootKey.Public(), other.root, other.rootKey, time.Now().Add(-time.Hour))
	negative, err := os.ReadFile("testdata/found/negative-root.pem")
	if err != nil {
		t.Fatal(err)
	}
	oneLine := strings.ReplaceAll(pemOf(leaf), "\n", "")
	for name, tt := range map[string]struct {
		cert, chain any
		want        int
		warning     string // part of it
	}{
		"chain with an expired cross-signed root": {pemOf(leaf), pemOf(ca.issuing, cross), 1, "1 not in force"},
		"chain with a damaged member":             {pemOf(leaf), pemOf(ca.issuing) + pemOf(ca.root)[:200], 1, "1 cannot be read"},
		"damaged member in front":                 {pemOf(leaf), pemOf(other.root)[:200] + chain, 2, "1 cannot be read"},
		"chain as PKCS#7":                         {pemOf(leaf), armoured("PKCS7", pkcs7Of(t, ca.issuing, ca.root)), 2, ""},
		"chain with a negative serial":            {pemOf(leaf), pemOf(ca.issuing) + string(negative), 1, "1 cannot be read"},
		"chain as a list":                         {pemOf(leaf), []string{pemOf(ca.issuing), b64(ca.root)}, 2, ""},
		"chain as a list of objects":              {pemOf(leaf), []jsonMap{{"certificateData": b64(ca.issuing)}, {"certificate": pemOf(ca.root)}}, 2, ""},
		"chain as an object":                      {pemOf(leaf), jsonMap{"certificateData": b64(ca.issuing)}, 1, ""},
		"chain as a number":                       {pemOf(leaf), 7, 0, "1 cannot be read"},
		"no chain":                                {pemOf(leaf), nil, 0, ""},
		"root in front":                           {pemOf(leaf), pemOf(ca.root, ca.issuing), 2, ""},
		"doubled":                                 {pemOf(leaf), chain + chain, 2, ""},
		"text between the blocks":                 {pemOf(leaf), "subject=a\n" + pemOf(ca.issuing) + "\n# root:\n" + pemOf(ca.root) + "end", 2, ""},
		"unrelated":                               {pemOf(leaf), pemOf(other.issuing, other.root), 0, "none of the gateway's certificates can be used: 2 not part of the path"},
		"unrelated beside it":                     {pemOf(leaf), chain + pemOf(other.root), 2, "1 not part of the path"},
		"leaf as PKCS#7":                          {armoured("PKCS7", pkcs7Of(t, ca.issuing, leaf)), pemOf(ca.root), 2, ""},
		"leaf as PKCS#7 without armour":           {base64.StdEncoding.EncodeToString(pkcs7Of(t, leaf)), chain, 2, ""},
		"leaf under the old label":                {armoured("X509 CERTIFICATE", leaf.Raw), chain, 2, ""},
		"leaf as OpenSSL's trusted certificate":   {armoured("TRUSTED CERTIFICATE", append(slices.Clone(leaf.Raw), 0x30, 0)), chain, 2, ""},
		"byte-order mark":                         {"\ufeff" + pemOf(leaf), "\ufeff" + chain, 2, ""},
		"PEM in base64":                           {base64.StdEncoding.EncodeToString([]byte(pemOf(leaf))), chain, 2, ""},
		"base64 of URLs":                          {base64.RawURLEncoding.EncodeToString(leaf.Raw), chain, 2, ""},
		"PEM on one line":                         {oneLine, chain, 2, ""},
		"PEM with escaped line breaks":            {strings.ReplaceAll(pemOf(leaf), "\n", `\n`), chain, 2, ""},
		"leaf as a list":                          {[]string{pemOf(ca.issuing), pemOf(leaf)}, nil, 1, ""},
		"leaf in the chain alone":                 {"", pemOf(ca.root, ca.issuing, leaf), 2, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			flat := jsonMap{"trackingId": "T", "status": "ISSUED", "certificate": tt.cert, "chain": tt.chain}
			nested := jsonMap{"enrollment": jsonMap{"id": "T", "status": "ACCEPTED", "body": tt.cert, "chain": tt.chain}}
			for dialect, body := range map[Dialect]jsonMap{DialectCertctl: flat, DialectCAGW: nested} {
				c := newClient(t, Config{Dialect: dialect}, func(w http.ResponseWriter, r *http.Request) {
					if r.Method == http.MethodGet {
						always(404, "")(w, r) // the CA's resource has no chain
						return
					}
					always(200, asJSON(t, body))(w, r)
				})
				a, err := c.Enroll(t.Context(), Enrollment{CSR: csr})
				if err != nil {
					t.Fatalf("%s: %v", dialect, err)
				}
				if _, err := CheckIssued(a, Expectation{SPKI: csr.RawSubjectPublicKeyInfo}); err != nil || len(a.Chain) != tt.want {
					t.Errorf("%s: %d chain certificates, %v; want %d", dialect, len(a.Chain), err, tt.want)
				}
				warnings := strings.Join(a.Warnings, "\n")
				if dialect == DialectCAGW && tt.want == 0 {
					if !strings.Contains(warnings, "could not be fetched") {
						t.Errorf("cagw: warnings %q", warnings)
					}
				} else if !strings.Contains(warnings, tt.warning) || (tt.warning == "") != (warnings == "") {
					t.Errorf("%s: warnings %q, want %q", dialect, warnings, tt.warning)
				}
			}
		})
	}
}

// TestAnswerIsNotReadAllOrNothing checks that the readable parts of an answer are kept.
func TestAnswerIsNotReadAllOrNothing(t *testing.T) {
	t.Parallel()
	ca := newTestCA(t)
	csr := newCSR(t)
	good := asJSON(t, pemOf(ca.issue(csr, nil)))
	for name, tt := range map[string]struct {
		body             string
		tracking, serial string
		state            State
	}{
		"certificate that cannot be read":   {`{"trackingId":"T","status":"ISSUED","serialNumber":"0AB1","certificate":"!"}`, "T", "ab1", 0},
		"certificate of another type":       {`{"trackingId":7,"status":"ISSUED","certificate":true}`, "7", "", 0},
		"only the issuer can be read":       {`{"trackingId":"T","status":"ISSUED","certificate":` + asJSON(t, "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"+pemOf(ca.issuing)) + `}`, "T", "", 0},
		"broken off in the certificate":     {`{"trackingId":"T","status":"ISSUED","certificate":"-----BEGIN`, "T", "", 0},
		"broken off behind the certificate": {`{"trackingId":"T","status":"ISSUED","certificate":` + good + `,"chain":"---`, "T", "", Issued},
		"text behind the object":            {`{"trackingId":"T","status":"ISSUED","certificate":` + good + `} ok`, "T", "", Issued},
		"byte-order mark":                   {"\ufeff" + `{"trackingId":"T","status":"PENDING"}`, "T", "", Pending},
		"status of another type":            {`{"trackingId":"T","status":{"a":1}}`, "T", "", Pending},
		"serial of another type":            {`{"trackingId":"T","status":"PENDING","serialNumber":[1]}`, "T", "", Pending},
		"rejected, with damage beside":      {`{"trackingId":"T","status":"REJECTED","certificate":[[["!"]]],"message":"no"}`, "T", "", Rejected},
		"an empty certificate object":       {`{"trackingId":"T","status":"ISSUED","certificate":{}}`, "T", "", 0},
	} {
		nested := strings.NewReplacer("trackingId", "id", `"certificate"`, `"body"`).Replace(`{"enrollment":` + tt.body)
		if strings.HasSuffix(tt.body, "}") {
			nested += "}"
		}
		for dialect, body := range map[Dialect]string{DialectCertctl: tt.body, DialectCAGW: nested} {
			if dialect == DialectCAGW && strings.HasPrefix(tt.body, "\ufeff") {
				continue
			}
			c := newClient(t, Config{Dialect: dialect}, func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet {
					always(404, "")(w, r)
					return
				}
				always(200, body)(w, r)
			})
			a, err := c.Enroll(t.Context(), Enrollment{CSR: csr})
			if tt.state != 0 {
				if err != nil || a.State != tt.state || a.TrackingID != tt.tracking {
					t.Errorf("%s, %s: %v %q, %v; want %v %q", name, dialect, a.State, a.TrackingID, err, tt.state, tt.tracking)
				}
				continue
			}
			e, ok := err.(*Error)
			if !ok || e.Fate != Unreadable || e.TrackingID != tt.tracking || e.Serial != tt.serial || !strings.Contains(e.Message, tt.serial) {
				t.Errorf("%s, %s: %v (%+v), want a malformed answer with %q, serial %q", name, dialect, err, e, tt.tracking, tt.serial)
			}
		}
	}
}

// TestKeysThatGoDoesNotKnow reads certificates with a curve that Go refuses, and compares
// their keys by bytes.
func TestKeysThatGoDoesNotKnow(t *testing.T) {
	t.Parallel()
	ca := newTestCA(t)
	csr := newCSR(t)
	leaf := ca.issue(csr, nil)
	// P-256's identifier becomes brainpoolP256r1's, which is one byte longer. The signature is
	// not renewed, so the certificate has no chain.
	p256, _ := hex.DecodeString("06082a8648ce3d030107")
	secp256k1, _ := hex.DecodeString("06052b8104000a") // of another length
	spki := mustMarshal(t, struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}{pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}, Parameters: asn1.RawValue{FullBytes: secp256k1}},
		asn1.BitString{Bytes: keyBits(leaf.RawSubjectPublicKeyInfo), BitLength: 8 * len(keyBits(leaf.RawSubjectPublicKeyInfo))}})
	if !strings.Contains(string(leaf.RawSubjectPublicKeyInfo), string(p256)) {
		t.Fatal("the certificate is not for P-256")
	}
	der := replaceKey(t, leaf, spki)
	if _, err := x509.ParseCertificate(der); err == nil {
		t.Fatal("Go knows the curve")
	}
	cert, err := parseCertificate(der)
	if err != nil || cert.PublicKey != nil || !slices.Equal(cert.RawSubjectPublicKeyInfo, spki) || !slices.Equal(cert.Raw, der) {
		t.Fatalf("parseCertificate: %v", err)
	}
	if len(cert.RawTBSCertificate) == 0 || !strings.Contains(string(cert.RawTBSCertificate), string(spki)) {
		t.Error("RawTBSCertificate is not the certificate's own")
	}
	request := &x509.CertificateRequest{Raw: []byte{1}, RawSubject: csr.RawSubject, RawSubjectPublicKeyInfo: spki, Subject: csr.Subject}
	c := newClient(t, Config{Dialect: DialectCertctl}, always(200, asJSON(t, jsonMap{"status": "ISSUED", "certificate": armoured("CERTIFICATE", der)})))
	a, err := c.Enroll(t.Context(), Enrollment{CSR: request})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := CheckIssued(a, Expectation{SPKI: spki}); err != nil {
		t.Error(err)
	}
	if _, err := CheckIssued(a, Expectation{SPKI: csr.RawSubjectPublicKeyInfo}); err == nil {
		t.Error("the certificate of another key is accepted")
	}
}

// replaceKey returns the certificate with another key and the old signature.
func replaceKey(t *testing.T, cert *x509.Certificate, spki []byte) []byte {
	t.Helper()
	var outer struct {
		TBS       asn1.RawValue
		Algorithm asn1.RawValue
		Signature asn1.BitString
	}
	if _, err := asn1.Unmarshal(cert.Raw, &outer); err != nil {
		t.Fatal(err)
	}
	outer.TBS.Bytes = []byte(strings.Replace(string(outer.TBS.Bytes), string(cert.RawSubjectPublicKeyInfo), string(spki), 1))
	outer.TBS.FullBytes = nil
	return mustMarshal(t, outer)
}

func FuzzCertificates(f *testing.F) {
	ca := newTestCA(f)
	f.Add(pemOf(ca.issuing, ca.root))
	f.Add(b64(ca.root))
	f.Add(armoured("PKCS7", pkcs7Of(f, ca.issuing, ca.root)))
	f.Fuzz(func(t *testing.T, s string) {
		for _, cert := range readCertificates(s).certs {
			if len(cert.Raw) == 0 || len(cert.RawTBSCertificate) == 0 || len(cert.RawSubjectPublicKeyInfo) == 0 {
				t.Errorf("a certificate lacks its bytes: %q", s)
			}
		}
	})
}
