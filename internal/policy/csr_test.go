package policy

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

const shop = `
producers:
  shop:
    kinds: [issue]
    names:
      dns: {exact: [other.example], suffixes: [shop.example]}
      ip: [192.0.2.0/24]
    subject:
      O: {values: [Shop Ltd]}
    extensions: [keyUsage]
    ekus: [serverAuth]
`

func mustParse(tb testing.TB, text string) *Policy {
	tb.Helper()
	p, err := Parse([]byte(text))
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// TestRawNames checks certificate requests that no library makes. The named rule must
// refuse them. The complete check, which reads with crypto/x509 first, must refuse every
// request that the raw reader refuses.
func TestRawNames(t *testing.T) {
	t.Parallel()
	good := altNames(dns("www.shop.example"))
	upn := explicit(0, oid("1.3.6.1.4.1.311.20.2.3"), explicit(0, utf8String("root@evil.example")))
	keyUsage := ext("2.5.29.15", str(cbasn1.BIT_STRING, "\x05\xa0"))
	boolean := func(b *cryptobyte.Builder) { b.AddASN1Boolean(true) }
	tests := []struct {
		name string
		der  []byte
		rule string // "" if allowed
	}{
		{"a plain one", request(t, []part{cn("www.shop.example")}, asks(good)), ""},
		{"no attributes in it", request(t, []part{cn("www.shop.example")}), ""},
		{"names and no subject", request(t, nil, asks(good)), ""},
		{"an allowed address", request(t, nil, asks(altNames(ip("\xc0\x00\x02\x07")))), ""},
		{"an allowed organisation", request(t, []part{cn("shop.example"), rdn(attr("2.5.4.10", utf8String("Shop Ltd")))}), ""},
		{"an allowed key usage", request(t, nil, asks(good, keyUsage)), ""},
		{"not a CA", request(t, nil, asks(good, ext(oidBasicConstraints, seq()))), ""},
		{"an allowed extended key usage", request(t, nil, asks(good, ext(oidEKU, seq(oid("1.3.6.1.5.5.7.3.1"))))), ""},
		{"a challenge password", request(t, nil, asks(good), seq(oid("1.2.840.113549.1.9.7"), set1(utf8String("x")))), ""},
		{"a common name in a BMPString", request(t, []part{rdn(attr(oidCommonName, bmp("www.shop.example")))}), ""},
		{"a common name in a TeletexString", request(t, []part{rdn(attr(oidCommonName, str(cbasn1.T61String, "www.shop.example")))}), ""},

		{"another name behind the good one", request(t, nil, asks(altNames(dns("www.shop.example"), dns("evil.example")))), "names.dns"},
		{"a name only in the extension request", request(t, []part{cn("www.shop.example")}, asks(altNames(dns("evil.example")))), "names.dns"},
		{"a name that ends alike", request(t, nil, asks(altNames(dns("evilshop.example")))), "names.dns"},
		{"a wildcard", request(t, nil, asks(altNames(dns("*.shop.example")))), "names.dns"},
		{"a name below an exact one", request(t, nil, asks(altNames(dns("a.other.example")))), "names.dns"},
		{"a NUL in a name", request(t, nil, asks(altNames(dns("evil.example\x00.shop.example")))), "csr"},
		{"a blank in a name", request(t, nil, asks(altNames(dns("www.shop.example evil.example")))), "csr"},
		{"a wildcard in the middle", request(t, nil, asks(altNames(dns("www.*.shop.example")))), "csr"},
		{"an empty name", request(t, nil, asks(altNames(dns("")))), "csr"},
		{"a name in UTF-8", request(t, nil, asks(altNames(dns("bücher.shop.example")))), "csr"},
		{"an address elsewhere", request(t, nil, asks(altNames(ip("\xc0\x00\x03\x07")))), "names.ip"},
		{"an address elsewhere, mapped", request(t, nil, asks(altNames(ip("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\x00\x03\x07")))), "names.ip"},
		{"an address of five bytes", request(t, nil, asks(altNames(ip("\xc0\x00\x02\x07\x00")))), "csr"},
		{"an address with a mask", request(t, nil, asks(altNames(ip("\xc0\x00\x02\x00\xff\xff\xff\x00")))), "csr"},
		{"an e-mail address", request(t, nil, asks(altNames(dns("www.shop.example"), email("root@shop.example")))), "names.email"},
		{"a URI", request(t, nil, asks(altNames(uri("https://shop.example/")))), "names.uri"},
		{"an otherName", request(t, nil, asks(altNames(dns("www.shop.example"), upn))), "names.other"},
		{"an otherName without its value", request(t, nil, asks(altNames(explicit(0, oid("1.2.3"))))), "csr"},
		{"an x400Address", request(t, nil, asks(altNames(explicit(3, seq())))), "names.other"},
		{"a directoryName", request(t, nil, asks(altNames(explicit(4, seq(cn("evil.example")))))), "names.other"},
		{"a directoryName that is none", request(t, nil, asks(altNames(explicit(4, utf8String("evil.example"))))), "csr"},
		{"an ediPartyName", request(t, nil, asks(altNames(explicit(5, explicit(1, utf8String("evil")))))), "names.other"},
		{"a registeredID", request(t, nil, asks(altNames(str(cbasn1.Tag(8).ContextSpecific(), "\x2a\x03")))), "names.other"},
		{"a name of a type that does not exist", request(t, nil, asks(altNames(str(cbasn1.Tag(9).ContextSpecific(), "evil.example")))), "csr"},
		{"a name in parts", request(t, nil, asks(altNames(explicit(2, str(cbasn1.IA5String, "evil.example"))))), "csr"},
		{"a universal string as name", request(t, nil, asks(altNames(utf8String("evil.example")))), "csr"},
		{"no names in the extension", request(t, []part{cn("www.shop.example")}, asks(altNames())), "csr"},
		{"bytes behind the names", request(t, nil, asks(seq(oid(oidAltName), str(cbasn1.OCTET_STRING, der(seq(dns("www.shop.example")))+der(seq(dns("evil.example"))))))), "csr"},
		{"two extensions of names", request(t, nil, asks(good, altNames(dns("evil.example")))), "csr"},
		{"two requests for extensions", request(t, nil, asks(good), asks(altNames(dns("evil.example")))), "csr"},
		{"two requests in one attribute", request(t, nil, seq(oid(oidExtensionRequest), set1(seq(good), seq(altNames(dns("evil.example")))))), "csr"},
		{"Microsoft's request for extensions", request(t, []part{cn("www.shop.example")}, seq(oid(oidMicrosoftExtensionRequest), set1(seq(altNames(dns("evil.example")))))), "names.dns"},
		{"both requests for extensions", request(t, nil, asks(good), seq(oid(oidMicrosoftExtensionRequest), set1(seq(altNames(dns("evil.example")))))), "csr"},
		{"an unknown attribute", request(t, nil, asks(good), seq(oid("1.3.6.1.4.1.311.13.2.1"), set1(bmp("SAN")))), "csr"},
		{"an unstructuredName as attribute", request(t, nil, asks(good), seq(oid("1.2.840.113549.1.9.2"), set1(utf8String("evil.example")))), "csr"},

		{"two common names", request(t, []part{cn("www.shop.example"), cn("evil.example")}), "names.dns"},
		{"two common names, the other way", request(t, []part{cn("evil.example"), cn("www.shop.example")}), "names.dns"},
		{"two common names in one part", request(t, []part{rdn(attr(oidCommonName, utf8String("evil.example")), attr(oidCommonName, utf8String("www.shop.example")))}), "names.dns"},
		{"a common name in a BMPString, elsewhere", request(t, []part{rdn(attr(oidCommonName, bmp("evil.example"))), cn("www.shop.example")}), "names.dns"},
		{"half a BMPString", request(t, []part{rdn(attr(oidCommonName, str(bmpString, "\x00e\x00")))}, asks(good)), "csr"},
		{"a surrogate in a BMPString", request(t, []part{rdn(attr(oidCommonName, str(bmpString, "\xd8\x00\xdc\x00")))}, asks(good)), "csr"},
		{"a common name in a TeletexString, elsewhere", request(t, []part{cn("www.shop.example"), rdn(attr(oidCommonName, str(cbasn1.T61String, "evil.example")))}), "names.dns"},
		{"an escape in a TeletexString", request(t, []part{rdn(attr("2.5.4.10", str(cbasn1.T61String, "Shop\x1b Ltd")))}, asks(good)), "csr"},
		{"a high byte in a TeletexString", request(t, []part{rdn(attr("2.5.4.10", str(cbasn1.T61String, "Sh\xf6p")))}, asks(good)), "csr"},
		{"a UniversalString", request(t, []part{rdn(attr(oidCommonName, str(universalString, "\x00\x00\x00e")))}, asks(good)), "csr"},
		{"bytes that are not UTF-8", request(t, []part{rdn(attr("2.5.4.10", utf8String("Shop\xff")))}, asks(good)), "csr"},
		{"a mark that nobody sees", request(t, []part{rdn(attr("2.5.4.10", utf8String("Shop\u200b Ltd")))}, asks(good)), "csr"},
		{"a common name that is no text", request(t, []part{rdn(attr(oidCommonName, str(cbasn1.OCTET_STRING, "evil.example")))}, asks(good)), "csr"},
		{"an empty common name", request(t, []part{cn("")}, asks(good)), "csr"},
		{"a common name that is no host name", request(t, []part{cn("The Shop")}, asks(good)), "subject.CN"},
		{"another organisation", request(t, []part{rdn(attr("2.5.4.10", utf8String("Evil Ltd")))}, asks(good)), "subject.O"},
		{"an attribute that is not named", request(t, []part{rdn(attr("2.5.4.11", utf8String("IT")))}, asks(good)), "subject.OU"},
		{"an attribute with an unknown id", request(t, []part{rdn(attr("1.3.6.1.4.1.99999.1", utf8String("evil.example")))}, asks(good)), "subject.1.3.6.1.4.1.99999.1"},
		{"an address in the subject", request(t, []part{rdn(attr(oidEmail, str(cbasn1.IA5String, "root@shop.example")))}, asks(good)), "names.email"},
		{"a domain component", request(t, []part{rdn(attr("0.9.2342.19200300.100.1.25", str(cbasn1.IA5String, "evil")))}, asks(good)), "subject.DC"},
		{"an empty part of the subject", request(t, []part{rdn()}, asks(good)), "csr"},
		{"a third element of an attribute", request(t, []part{rdn(seq(oid("2.5.4.10"), utf8String("Shop Ltd"), utf8String("Evil")))}, asks(good)), "csr"},

		{"a critical unknown extension", request(t, nil, asks(good, critical("1.2.3.4", seq()))), "extensions"},
		{"another name for the issuer", request(t, nil, asks(good, ext("2.5.29.18", seq(dns("evil.example"))))), "extensions"},
		{"a CA", request(t, nil, asks(good, critical(oidBasicConstraints, seq(boolean)))), "extensions"},
		{"another key usage", request(t, nil, asks(good, ext(oidEKU, seq(oid("1.3.6.1.5.5.7.3.1"), oid("1.3.6.1.5.5.7.3.3"))))), "ekus"},
		{"any key usage", request(t, nil, asks(good, ext(oidEKU, seq(oid("2.5.29.37.0"))))), "ekus"},
		{"the same extension twice", request(t, nil, asks(good, keyUsage, keyUsage)), "csr"},
		{"bytes behind the certificate request", append(request(t, nil, asks(good)), 0), "csr"},
		{"something behind the attributes", sign(t, der(seq(func(b *cryptobyte.Builder) { b.AddASN1Int64(0) }, seq(cn("www.shop.example")), seq(), explicit(0), explicit(1, seq())))), "csr"},
		{"version 2", sign(t, der(seq(func(b *cryptobyte.Builder) { b.AddASN1Int64(1) }, seq(cn("www.shop.example")), seq(), explicit(0)))), "csr"},
		{"cut short", request(t, nil, asks(good))[:60], "csr"},
	}
	p := mustParse(t, shop)
	if len(tests) < 40 {
		t.Fatalf("only %d certificate requests", len(tests))
	}
	for _, tt := range tests {
		j := judgement{rules: p.producers["shop"]}
		c, err := readCSR(tt.der)
		if err != nil {
			j.ask(false, "csr", err.Error(), "")
		}
		j.content(c, "the certificate request")
		rule := ""
		if j.Denial != nil {
			rule = j.Denial.Rule
		}
		if rule != tt.rule {
			t.Errorf("%s: decided by %q (%v), want %q", tt.name, rule, j.Denial, tt.rule)
		}
		if v := p.Judge(Request{Producer: "shop", Body: &entrustbus.Issue{ID: "a", CSRDER: tt.der}}); (v.Denial == nil) != (tt.rule == "") {
			t.Errorf("%s: the complete check is %v, want rule %q", tt.name, v.Denial, tt.rule)
		}
	}
}

func TestReadDN(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"CN=www.shop.example,O=Shop Ltd": "CN=www.shop.example|O=Shop Ltd",
		"cn = a , OU=b+O= c ":            "CN=a|OU=b|O=c",
		`O=Shop\, Ltd`:                   "O=Shop, Ltd",
		`O=Sh\c3\b6p`:                    "O=Shöp",
		"OID.2.5.4.3=a":                  "CN=a",
		"2.5.4.3=#0c0161":                "CN=a",
		"1.2.3.4=a":                      "1.2.3.4=a",
		`O=a\20`:                         "O=a ",
		"":                               "",
		"CN=":                            "",
		"CN=a,":                          "",
		"CN=a;CN=b":                      "",
		`CN="a,CN=b"`:                    "",
		"/CN=a/O=b":                      "",
		"O=a/CN=evil.example":            "",
		`O=a\`:                           "",
		`O=a\zz`:                         "",
		`O=\ff`:                          "",
		"SN=1":                           "", // surname or serial number
		"XX=1":                           "",
		"CN=#0c0261":                     "",
		"CN=#0402aabb":                   "",
		"CN=a\u200b":                     "",
		"CN=a#b":                         "CN=a#b",
	} {
		all, err := readDN(text)
		var parts []string
		for _, a := range all {
			parts = append(parts, attributeName(a.oid)+"="+a.value)
		}
		if got := strings.Join(parts, "|"); got != want || (err != nil) != (want == "") {
			t.Errorf("%q: got %q, %v, want %q", text, got, err, want)
		}
	}
}

func FuzzReadCSR(f *testing.F) {
	f.Add(request(f, []part{cn("www.shop.example")}, asks(altNames(dns("www.shop.example"), ip("\xc0\x00\x02\x07")))))
	f.Add(request(f, []part{rdn(attr(oidCommonName, bmp("evil.example")))}, asks(critical("1.2.3.4", seq()))))
	f.Fuzz(func(t *testing.T, der []byte) {
		c, err := readCSR(der)
		if err != nil {
			var e *unreadable
			if !errors.As(err, &e) || len(err.Error()) > 1000 {
				t.Errorf("got %v", err)
			}
			return
		}
		for _, a := range c.subject {
			if a.value == "" || strings.ContainsFunc(a.value, hidden) {
				t.Errorf("the value %q was taken for text", a.value)
			}
		}
		// The raw reader sees every name that crypto/x509 sees.
		seesAll(t, der, c)
	})
}

func FuzzReadDN(f *testing.F) {
	f.Add("CN=www.shop.example,O=Shop\\, Ltd+OU=#0c0161")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := readDN(text)
		if err == nil && len(all) == 0 {
			t.Error("read nothing, and no error")
		}
		for _, a := range all {
			if err == nil && (a.oid == "" || a.value == "" || strings.ContainsFunc(a.value, hidden)) {
				t.Errorf("read %q", a)
			}
		}
	})
}
