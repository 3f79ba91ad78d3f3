package gateway

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus/san"
)

func TestCheckIssued(t *testing.T) {
	t.Parallel()
	ca := newTestCA(t)
	other := newTestCA(t)
	csr := newCSR(t, "shop.example.net", "192.0.2.7")
	sans, err := san.Read(csr.Extensions)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	good := ca.issue(csr, nil)
	commonName := func(cn string) func(*Answer, *Expectation) {
		return func(_ *Answer, e *Expectation) { e.SANs, e.CommonName = nil, cn }
	}
	tests := []struct {
		name   string
		cert   *x509.Certificate
		chain  []*x509.Certificate
		change func(*Answer, *Expectation)
		want   string // part of the problem; "" for none
	}{
		{name: "as asked for", cert: good, chain: []*x509.Certificate{ca.issuing, ca.root}},
		{name: "without the root", cert: good, chain: []*x509.Certificate{ca.issuing}},
		{name: "without a chain", cert: good},                                                            // a missing chain is no mismatch
		{name: "chain of another CA", cert: good, chain: []*x509.Certificate{other.issuing, other.root}}, // links.above leaves it out
		{name: "key by its DER", cert: good, change: func(_ *Answer, e *Expectation) {
			e.PublicKey, e.SPKI = nil, csr.RawSubjectPublicKeyInfo
		}},
		{name: "no certificate", cert: good, want: "cannot be parsed", change: func(a *Answer, _ *Expectation) { a.Certificate = nil }},
		{name: "cut certificate", cert: good, want: "cannot be parsed", change: func(a *Answer, _ *Expectation) {
			a.Certificate = a.Certificate[:len(a.Certificate)-1]
		}},
		{name: "other key", cert: ca.issue(newCSR(t, "shop.example.net", "192.0.2.7"), nil), want: "public key"},
		{name: "other key by its DER", cert: ca.issue(newCSR(t, "shop.example.net", "192.0.2.7"), nil), want: "public key",
			change: func(_ *Answer, e *Expectation) { e.PublicKey, e.SPKI = nil, csr.RawSubjectPublicKeyInfo }},
		{name: "no key to compare", cert: good, want: "no public key", change: func(_ *Answer, e *Expectation) { e.PublicKey = nil }},
		{name: "key let be", cert: good, change: func(_ *Answer, e *Expectation) { e.PublicKey, e.AnyKey = nil, true }},
		{name: "name missing", cert: ca.issue(csr, func(c *x509.Certificate) { c.DNSNames = []string{"other.example.net"} }), want: `dNSName "shop.example.net"`},
		{name: "address missing", cert: ca.issue(csr, func(c *x509.Certificate) { c.IPAddresses = nil }), want: `iPAddress "192.0.2.7"`},
		{name: "address as a host name", want: `iPAddress "192.0.2.7"`, // as the certctl dialect requests it
			cert: ca.issue(csr, func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, append(c.DNSNames, "192.0.2.7") })},
		{name: "more names", cert: ca.issue(csr, func(c *x509.Certificate) { c.DNSNames = append(c.DNSNames, "www.shop.example.net") })},
		{name: "wildcard", cert: ca.issue(csr, func(c *x509.Certificate) { c.DNSNames = []string{"*.example.net"} })},
		{name: "wildcard too high", cert: ca.issue(csr, func(c *x509.Certificate) { c.DNSNames = []string{"*.net"} }), want: "dNSName"},
		{name: "common name", cert: good, change: commonName("SHOP.example.net")},
		{name: "other common name", cert: ca.issue(csr, func(c *x509.Certificate) { c.Subject.CommonName, c.DNSNames = "other.example.net", nil }),
			change: commonName("shop.example.net"), want: `common name "shop.example.net"`},
		{name: "no common name", cert: ca.issue(csr, func(c *x509.Certificate) { c.Subject.CommonName, c.DNSNames = "", nil }),
			change: commonName("shop.example.net"), want: `common name "shop.example.net"`},
		{name: "common name as a name", cert: ca.issue(csr, func(c *x509.Certificate) { c.Subject.CommonName = "" }), change: commonName("shop.example.net")},
		{name: "common name by a wildcard", cert: ca.issue(csr, func(c *x509.Certificate) { c.Subject.CommonName, c.DNSNames = "", []string{"*.example.net"} }),
			change: commonName("shop.example.net")},
		{name: "address as common name", cert: ca.issue(csr, func(c *x509.Certificate) { c.Subject.CommonName = "" }), change: commonName("192.0.2.7")},
		{name: "common name beside names", cert: ca.issue(csr, func(c *x509.Certificate) { c.Subject.CommonName = "" }),
			change: func(_ *Answer, e *Expectation) { e.CommonName = "other.example.net" }}, // the names decide
		{name: "expired", cert: ca.issue(csr, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.AddDate(0, -2, 0), now.AddDate(0, -1, 0) }), want: "it ended"},
		{name: "ends before it begins", cert: ca.issue(csr, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(2*time.Hour), now.Add(time.Hour) }), want: "ends before"},
		{name: "begins next week", cert: ca.issue(csr, func(c *x509.Certificate) { c.NotBefore = now.AddDate(0, 0, 7) }), want: "only begins"},
		{name: "begins in an hour", cert: ca.issue(csr, func(c *x509.Certificate) { c.NotBefore = now.Add(time.Hour) })}, // clocks differ
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := Answer{State: Issued, Certificate: tt.cert.Raw}
			for _, cert := range tt.chain {
				a.Chain = append(a.Chain, cert.Raw)
			}
			want := Expectation{PublicKey: csr.PublicKey, SANs: sans, Now: now}
			if tt.change != nil {
				tt.change(&a, &want)
			}
			cert, err := CheckIssued(a, want)
			if tt.want == "" {
				if err != nil || !bytes.Equal(cert.Raw, tt.cert.Raw) {
					t.Fatalf("CheckIssued: %v", err)
				}
				return
			}
			mismatch, ok := errors.AsType[*MismatchError](err)
			if !ok || !strings.Contains(mismatch.Problem, tt.want) {
				t.Fatalf("CheckIssued: %v, want a problem with %q", err, tt.want)
			}
			if cert != nil {
				t.Error("a certificate came back beside the mismatch")
			}
			if want := "1234abcd"; mismatch.Serial != want && !strings.HasPrefix(tt.want, "cannot") {
				t.Errorf("Serial = %q, want %q", mismatch.Serial, want)
			}
		})
	}
}

func TestNamesRoundTrip(t *testing.T) {
	t.Parallel()
	ca := newTestCA(t)
	csr := newCSR(t)
	uri, _ := url.Parse("spiffe://example.net/shop")
	registered, err := asn1.MarshalWithParams(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99}, "tag:8")
	if err != nil {
		t.Fatal(err)
	}
	cert := ca.issue(csr, func(c *x509.Certificate) {
		c.DNSNames, c.EmailAddresses = []string{"a.example"}, []string{"me@example.net"}
		c.IPAddresses, c.URIs = []net.IP{net.ParseIP("2001:db8::1")}, []*url.URL{uri}
	})
	got, err := san.Read(cert.Extensions)
	if err != nil {
		t.Fatal(err)
	}
	want := []SAN{
		{Type: SANDNS, Value: "a.example"}, {Type: SANEmail, Value: "me@example.net"},
		{Type: SANIP, Value: "2001:db8::1"}, {Type: SANURI, Value: "spiffe://example.net/shop"},
	}
	if len(got) != len(want) {
		t.Fatalf("names = %v", got)
	}
	for i := range want {
		if got[i].Type != want[i].Type || got[i].Value != want[i].Value {
			t.Errorf("names[%d] = %v, want %v", i, got[i], want[i])
		}
	}
	for _, name := range []struct {
		der  []byte
		want altName
	}{
		{registered, altName{Type: "registeredID", Value: "1.3.6.1.4.1.99"}},
		{mustMarshal(t, asn1.RawValue{Class: 2, Tag: 4, IsCompound: true, Bytes: csr.RawSubject}),
			altName{Type: "directoryName", Value: `CN=shop.example.net,O=Example\, Inc.`}},
		{mustMarshal(t, asn1.RawValue{Class: 2, Tag: 0, IsCompound: true, Bytes: []byte{0x06, 0x01, 0x2a}}), altName{Type: "otherName"}},
	} {
		list, err := san.ReadValue(mustMarshal(t, asn1.RawValue{Tag: 16, IsCompound: true, Bytes: name.der}))
		if err != nil || len(list) != 1 || list[0].Type != SANOther || !bytes.Equal(list[0].DER, name.der) {
			t.Fatalf("ReadValue: %v, %v", list, err)
		}
		wire := wireName(list[0])
		if wire.Type != name.want.Type || wire.Value != name.want.Value || wire.DER == "" {
			t.Errorf("on the wire %+v, want %+v with der", wire, name.want)
		}
		if err := list[0].Check(); err != nil {
			t.Errorf("%s %v", wire.Type, err)
		}
		if !list[0].CoveredBy(list[0]) {
			t.Errorf("%s is not covered by itself", wire.Type)
		}
	}
}

func mustMarshal(t testing.TB, v any) []byte {
	t.Helper()
	der, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestDistinguishedName(t *testing.T) {
	t.Parallel()
	attr := func(oid string, value any) pkix.AttributeTypeAndValue {
		id, err := x509.ParseOID(oid)
		if err != nil {
			t.Fatal(err)
		}
		var old asn1.ObjectIdentifier
		for part := range strings.SplitSeq(id.String(), ".") {
			n, _ := new(big.Int).SetString(part, 10)
			old = append(old, int(n.Int64()))
		}
		return pkix.AttributeTypeAndValue{Type: old, Value: value}
	}
	tests := []struct {
		name string
		seq  pkix.RDNSequence
		want string
	}{
		{"empty", pkix.RDNSequence{}, ""},
		{"last first", pkix.RDNSequence{{attr("2.5.4.6", "DE")}, {attr("2.5.4.10", "Example")}, {attr("2.5.4.3", "a.example")}}, "CN=a.example,O=Example,C=DE"},
		{"several values", pkix.RDNSequence{{attr("2.5.4.3", "a"), attr("0.9.2342.19200300.100.1.1", "u1")}}, "CN=a+UID=u1"},
		{"escapes", pkix.RDNSequence{{attr("2.5.4.10", ` #a, "b"+<c>;\=d `)}}, `O=\ #a\, \"b\"\+\<c\>\;\\\=d\ `},
		{"leading hash", pkix.RDNSequence{{attr("2.5.4.10", "#1")}}, `O=\#1`},
		{"control characters", pkix.RDNSequence{{attr("2.5.4.10", "a\nb")}}, `O=a\0Ab`},
		{"no name", pkix.RDNSequence{{attr("1.2.3.4", "x")}}, "1.2.3.4=#130178"},
		{"not ASCII", pkix.RDNSequence{{attr("2.5.4.10", "Größe")}}, "O=Größe"},
	}
	for _, tt := range tests {
		got, err := distinguishedName(mustMarshal(t, tt.seq))
		if err != nil || got != tt.want {
			t.Errorf("%s: %q, %v; want %q", tt.name, got, err, tt.want)
		}
	}
	for _, der := range [][]byte{nil, {0x30}, {0x30, 0x02, 0x31, 0x05}, {0x30, 0x04, 0x31, 0x02, 0x30, 0x00}} {
		if dn, err := distinguishedName(der); err == nil {
			t.Errorf("distinguishedName(%x) = %q without an error", der, dn)
		}
	}
}
