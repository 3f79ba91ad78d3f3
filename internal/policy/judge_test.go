package policy

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// signed makes a certificate request for a key, with the common name a.example.
func signed(t *testing.T, key crypto.Signer, algorithm x509.SignatureAlgorithm) []byte {
	t.Helper()
	template := &x509.CertificateRequest{SignatureAlgorithm: algorithm}
	template.Subject.CommonName = "a.example"
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func rsaKey(t *testing.T, bits int) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// decoded returns a revocation as it was published.
func decoded(t *testing.T, body string) entrustbus.Request {
	t.Helper()
	r, err := entrustbus.DecodeRequest(entrustbus.KindRevoke, entrustbus.EncodingJSON, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestRules has a row for each rule: a request, rules that allow it, rules that refuse
// it, and the rule that must refuse. base is in both sets of rules.
func TestRules(t *testing.T) {
	t.Parallel()
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	weak, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsa2048 := rsaKey(t, 2048)
	plain := request(t, []part{cn("a.example")})
	issue := func(change func(*entrustbus.Issue)) entrustbus.Request {
		r := &entrustbus.Issue{ID: "a", CSRDER: plain}
		change(r)
		return r
	}
	with := func(der []byte) entrustbus.Request { return &entrustbus.Issue{ID: "a", CSRDER: der} }
	none := func(*entrustbus.Issue) {}
	sans := func(names ...string) entrustbus.Request {
		return issue(func(r *entrustbus.Issue) { r.SANs = names })
	}
	subjectDN := func(dn string) entrustbus.Request {
		return issue(func(r *entrustbus.Issue) { r.SubjectDN = dn })
	}
	subject := func(parts ...part) entrustbus.Request { return with(request(t, append(parts, cn("a.example")))) }
	const (
		kinds = "kinds: [issue, revoke, track, cancel]\n"
		host  = "names: {dns: {exact: [a.example]}}\n"
		base  = kinds + host

		revoking = kinds + "revoke: {serials: any, reasons: [superseded]}\n"
	)
	withNames := func(rules string) string { return kinds + "names: {dns: {exact: [a.example]}, " + rules + "}\n" }
	for _, tt := range []struct {
		request  entrustbus.Request
		yes, no  string
		rule     string
		validity time.Duration
	}{
		{request: issue(none), yes: base, no: "kinds: [revoke]\n" + host, rule: "kinds"},
		{request: issue(none), yes: "kinds: ['*']\n" + host, no: host, rule: "kinds"},
		{request: &entrustbus.Cancel{ID: "a", Order: "b"}, yes: base, no: "kinds: [issue]", rule: "kinds"},
		{request: &entrustbus.Track{ID: "a", TrackingID: "t", CAID: "ca-1"}, yes: base + "cas: [ca-1]", no: base, rule: "cas"},
		{request: issue(func(r *entrustbus.Issue) { r.CAID = "ca-1" }), yes: base + "cas: [ca-1]", no: base + "cas: [ca-2]", rule: "cas"},
		{request: issue(func(r *entrustbus.Issue) { r.CAID = "ca-1" }), yes: base + "cas: ['*']", no: base, rule: "cas"},
		{request: issue(none), yes: base, no: base + "cas: [ca-2]", rule: "cas"}, // the worker's own is not in the list
		{request: issue(func(r *entrustbus.Issue) { r.ProfileID = "p" }), yes: base + "profiles: [p]", no: base + "profiles: [q]", rule: "profiles"},
		{request: issue(func(r *entrustbus.Issue) { r.ProfileID = "p" }), yes: base + "profiles: ['*']", no: base, rule: "profiles"},

		{request: decoded(t, `{"id":"a","serial":"1","reason":"superseded"}`), yes: revoking + "strict: true", no: "kinds: [issue]", rule: "kinds"},
		{request: decoded(t, `{"id":"a","serial":"1","unlike_any":1}`), yes: revoking + "strict: true", no: "kinds: [issue]", rule: "kinds"},
		{request: decoded(t, `{"id":"a","serial":"1","reson":"superseded"}`), yes: revoking, no: revoking + "strict: true", rule: "strict"},

		{request: issue(none), yes: base, no: kinds, rule: "names.dns"},
		{request: issue(func(r *entrustbus.Issue) { r.CommonName = "a.example" }), yes: base, no: kinds, rule: "names.dns"},
		{request: sans("b.example"), yes: kinds + "names: {dns: {exact: [a.example, b.example]}}", no: base, rule: "names.dns"},
		{request: sans("x.b.example"), yes: kinds + "names: {dns: {exact: [a.example], suffixes: [B.example.]}}", no: kinds + "names: {dns: {exact: [a.example, b.example]}}", rule: "names.dns"},
		{request: sans("b.example"), yes: kinds + "names: {dns: {suffixes: [b.example, a.example]}}", no: kinds + "names: {dns: {suffixes: [a.example, x.b.example]}}", rule: "names.dns"},
		{request: sans("*.b.example"), yes: kinds + "names: {dns: {suffixes: [a.example, b.example], wildcards: true}}", no: kinds + "names: {dns: {suffixes: [a.example, b.example]}}", rule: "names.dns"},
		{request: sans("*.b.example"), yes: kinds + "names: {dns: {exact: [a.example, '*.b.example'], wildcards: true}}", no: kinds + "names: {dns: {exact: [a.example, b.example], wildcards: true}}", rule: "names.dns"},
		{request: sans("any.where"), yes: kinds + "names: {dns: {suffixes: ['*']}}", no: base, rule: "names.dns"},
		{request: sans("192.0.2.9"), yes: withNames("ip: [192.0.2.0/24]"), no: withNames("ip: [192.0.3.0/24, '2001:db8::/32']"), rule: "names.ip"},
		{request: sans("2001:db8::1"), yes: withNames("ip: ['2001:db8::1']"), no: withNames("ip: [0.0.0.0/0]"), rule: "names.ip"},
		{request: sans("me@b.example"), yes: withNames("email: [b.example]"), no: withNames("email: [example]"), rule: "names.email"},
		{request: sans("me@b.example"), yes: withNames("email: ['*']"), no: base, rule: "names.email"},
		{request: sans("spiffe://b.example/x"), yes: withNames("uri: ['spiffe://b.example/']"), no: withNames("uri: ['spiffe://a.example/']"), rule: "names.uri"},
		{request: sans("spiffe://b.example/x/y"), yes: withNames("uri: ['spiffe://b.example/x']"), no: withNames("uri: ['spiffe://b.example/x/y/z']"), rule: "names.uri"},
		{request: sans("spiffe://b.example/xy"), yes: withNames("uri: ['*']"), no: withNames("uri: ['spiffe://b.example/x']"), rule: "names.uri"},
		{request: sans("spiffe://b.example/x/../y"), yes: withNames("uri: ['*']"), no: withNames("uri: ['spiffe://b.example/x/']"), rule: "names.uri"},
		{request: sans("spiffe://me@b.example/"), yes: withNames("uri: ['*']"), no: withNames("uri: ['spiffe://b.example/']"), rule: "names.uri"},
		{request: sans("uri:urn:shop:1"), yes: withNames("uri: ['urn:shop:']"), no: withNames("uri: ['urn:sho']"), rule: "names.uri"},
		{request: with(request(t, nil, asks(altNames(explicit(0, oid("1.2.3"), explicit(0, seq())))))), yes: withNames("other: [1.2.3]"), no: withNames("other: [1.2.4, registeredID]"), rule: "names.other"},
		{request: with(request(t, nil, asks(altNames(explicit(4, seq(cn("x"))))))), yes: withNames("other: [directoryName]"), no: withNames("other: [x400Address]"), rule: "names.other"},

		{request: subject(rdn(attr("2.5.4.10", utf8String("Shop")))), yes: base + "subject: {O: {}}", no: base + "subject: {OU: {}}", rule: "subject.O"},
		{request: subject(rdn(attr("2.5.4.10", utf8String("Shop")))), yes: base + "subject: {2.5.4.10: {values: [Shop, Other]}}", no: base + "subject: {O: {values: [Other]}}", rule: "subject.O"},
		{request: subject(rdn(attr("2.5.4.10", utf8String("Shop")))), yes: base + "subject: {o: {required: true}}", no: base + "subject: {O: {}, C: {required: true}}", rule: "subject.C.required"},
		{request: subjectDN("CN=a.example,O=Shop"), yes: base + "subject: {O: {values: [Shop], required: true}}", no: base, rule: "subject.O"},
		{request: subjectDN("CN=b.example"), yes: kinds + "names: {dns: {suffixes: [example]}}", no: base, rule: "names.dns"},
		{request: subjectDN("O=Shop"), yes: base + "subject: {O: {}}", no: base + "subject: {O: {}, CN: {required: true}}", rule: "subject.CN.required"},
		{request: subjectDN("omit"), yes: base, no: base + "subject: {CN: {required: true}}", rule: "subject.CN.required"},
		{request: subjectDN("CN=The Shop"), yes: base + "subject: {CN: {values: [The Shop]}}", no: base + "subject: {CN: {}}", rule: "subject.CN"},
		{request: subjectDN("emailAddress=me@a.example"), yes: withNames("email: [a.example]"), no: base, rule: "names.email"},
		{request: issue(func(r *entrustbus.Issue) {
			r.SubjectVariables = []entrustbus.SubjectVariable{{Type: "O", Value: "Shop"}}
		}), yes: base + "subject: {O: {required: true}}", no: base, rule: "subject.O"},

		{request: with(signed(t, ed, 0)), yes: base, no: base + "keys: [EC P-256]", rule: "keys"},
		{request: with(signed(t, ed, 0)), yes: base + "keys: [Ed25519]", no: base + "keys: []", rule: "keys"},
		{request: with(signed(t, rsa2048, 0)), yes: base, no: base + "keys: [RSA 3072]", rule: "keys"},
		{request: with(signed(t, rsaKey(t, 1024), 0)), yes: base + "keys: [RSA 1024]", no: base, rule: "keys"},
		{request: with(signed(t, weak, x509.ECDSAWithSHA256)), yes: base + "keys: [EC P-224]", no: base, rule: "keys"},
		{request: with(signed(t, rsa2048, x509.SHA1WithRSA)), yes: base + "sha1_signatures: true", no: base, rule: "sha1_signatures"},

		{request: issue(func(r *entrustbus.Issue) { r.ValiditySeconds = 86400 }), yes: base + "max_validity: 1d", no: base + "max_validity: 23h", rule: "max_validity"},
		{request: issue(func(r *entrustbus.Issue) { r.ValiditySeconds = 86400 }), yes: base + "{max_validity: 12h, longer_validity: cut}", no: base + "{max_validity: 12h, longer_validity: refuse}", rule: "max_validity", validity: 12 * time.Hour},
		{request: issue(func(r *entrustbus.Issue) { r.ValidityPeriod = "P1D" }), yes: base + "max_validity: 1d", no: base + "{max_validity: 23h, longer_validity: cut}", rule: "max_validity"},
		{request: issue(func(r *entrustbus.Issue) { r.ValidityPeriod = "2026-11-01T13:00Z/P1Y" }), yes: base + "max_validity: 366d", no: base + "max_validity: 365d", rule: "max_validity"},
		{request: issue(func(r *entrustbus.Issue) { r.MaxValiditySeconds = 86400 }), yes: base + "max_validity: 12h", no: base + "keys: []", rule: "keys", validity: 12 * time.Hour},
		{request: issue(func(r *entrustbus.Issue) { r.MaxValiditySeconds = 86400 }), yes: base + "max_validity: 1d", no: base + "keys: []", rule: "keys"},
		{request: issue(func(r *entrustbus.Issue) { r.PollMaxWaitSeconds = 3600 }), yes: base + "max_wait: 1h", no: base + "max_wait: 59m", rule: "max_wait"},

		{request: with(request(t, []part{cn("a.example")}, asks(critical("2.5.29.15", str(3, "\x05\xa0"))))), yes: base + "extensions: [KeyUsage]", no: base + "extensions: [2.5.29.14]", rule: "extensions"},
		{request: with(request(t, []part{cn("a.example")}, asks(ext(oidBasicConstraints, seq(str(1, "\xff")))))), yes: base + "extensions: [basicConstraints]", no: base, rule: "extensions"},
		{request: issue(func(r *entrustbus.Issue) { r.MustStaple = true }), yes: base + "extensions: [tlsFeature]", no: base, rule: "extensions"},
		{request: issue(func(r *entrustbus.Issue) {
			r.Extensions = []entrustbus.Extension{{OID: "1.2.3", Value: []byte("\x05\x00")}}
		}), yes: base + "extensions: [1.2.3]", no: base, rule: "extensions"},
		{request: issue(func(r *entrustbus.Issue) {
			r.Extensions = []entrustbus.Extension{{OID: oidAltName, Value: []byte(der(seq(dns("b.example"))))}}
		}), yes: kinds + "names: {dns: {suffixes: [example]}}", no: base, rule: "names.dns"},
		{request: issue(func(r *entrustbus.Issue) { r.EKUs = []string{"ServerAuth"} }), yes: base + "ekus: [1.3.6.1.5.5.7.3.1]", no: base + "ekus: [clientAuth]", rule: "ekus"},
		{request: with(request(t, []part{cn("a.example")}, asks(ext(oidEKU, seq(oid("1.3.6.1.5.5.7.3.2")))))), yes: base + "ekus: ['*']", no: base + "ekus: [serverAuth]", rule: "ekus"},
		{request: issue(func(r *entrustbus.Issue) { r.Properties = map[string]any{"k": "v"} }), yes: base + "properties: [k]", no: base + "properties: [l]", rule: "properties"},

		{request: &entrustbus.Revoke{ID: "a", Serial: "0a"}, yes: base + "revoke: {serials: any}", no: base + "revoke: {serials: none}", rule: "revoke.serials"},
		{request: &entrustbus.Revoke{ID: "a", Serial: "0a"}, yes: base + "revoke: {serials: any}", no: base, rule: "revoke.serials"},
		{request: &entrustbus.Revoke{ID: "a", Serial: "0a", Reason: "key_compromise"}, yes: base + "revoke: {serials: any, reasons: [keyCompromise]}", no: base + "revoke: {serials: any, reasons: [superseded]}", rule: "revoke.reasons"},
		{request: &entrustbus.Revoke{ID: "a", Serial: "0a", Reason: "1"}, yes: base + "revoke: {serials: any, reasons: ['*']}", no: base + "revoke: {serials: any}", rule: "revoke.reasons"},
	} {
		judge := func(rules string) Verdict {
			rules = flow(rules)
			q := Request{Producer: "shop", Body: tt.request, CA: "ca-1", Profile: "p"}
			p := mustParse(t, "producers:\n  shop:\n"+rules)
			v := p.Judge(q)
			again, found := p.Explain(q)
			if fmt.Sprint(v) != fmt.Sprint(again) || len(found) == 0 {
				t.Errorf("%s\nJudge says %v, Explain %v with %d findings", rules, v, again, len(found))
			}
			return v
		}
		if v := judge(tt.yes); v.Denial != nil || v.Validity != tt.validity {
			t.Errorf("%s\nrefuses a request of kind %s: %v, validity %v", tt.yes, tt.request.Kind(), v.Denial, v.Validity)
		}
		if v := judge(tt.no); v.Denial == nil || v.Denial.Rule != tt.rule {
			t.Errorf("%s\nsays %v, want rule %s", tt.no, v.Denial, tt.rule)
		}
	}
	if v := mustParse(t, "producers: {shop: {}}").Judge(Request{Producer: "other", Body: issue(none)}); v.Denial == nil || v.Denial.Rule != "producer" {
		t.Errorf("a producer without rules: %v", v.Denial)
	}
}

// flow indents rules. A rule may be in braces.
func flow(rules string) string {
	var b strings.Builder
	for line := range strings.SplitSeq(strings.TrimSpace(rules), "\n") {
		if inner, ok := strings.CutPrefix(line, "{"); ok {
			for item := range strings.SplitSeq(strings.TrimSuffix(inner, "}"), ", ") {
				b.WriteString("    " + item + "\n")
			}
			continue
		}
		b.WriteString("    " + line + "\n")
	}
	return b.String()
}

func TestDenialIsOneShortLine(t *testing.T) {
	t.Parallel()
	d := &Denial{Rule: "names.dns", Value: strings.Repeat("é\n", 500), Where: "sans"}
	if text := d.Error(); len(text) > 400 || strings.ContainsAny(text, "\n\r") || !strings.Contains(text, "names.dns") {
		t.Errorf("got %q", text)
	}
}

func TestParseSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	rule := func(s string) string { return "producers:\n  shop:\n    " + s }
	for text, want := range map[string]string{
		"":                            "empty",
		"producers:":                  `"producers" is missing`,
		"producer: {}":                "producer",
		"producers: {a b: {}}":        `"a b"`,
		"producers: {}\n---\na: b":    "more than one",
		"producers: {a: {}, a: {}}":   "already defined",
		rule("kind: [issue]"):         "kind",
		rule("kinds: [isue]"):         `"isue" is not one of`,
		rule("kinds: [issue, issue]"): "twice",
		rule("cas: ['']"):             "cas",
		rule("names: {dns: {exact: ['*.a.example']}}"):    "names.dns.wildcards",
		rule("names: {dns: {suffixes: ['*.a.example']}}"): "names.dns.suffixes",
		rule("names: {dns: {wildcards: true}}"):           "names.dns.wildcards",
		rule("names: {ip: [192.0.2.1/24]}"):               "192.0.2.0/24",
		rule("names: {ip: ['::ffff:192.0.2.0/120']}"):     "names.ip",
		rule("names: {email: [me@a.example]}"):            "names.email",
		rule("names: {uri: ['https://a.example']}"):       "must have a path",
		rule("names: {uri: ['/a']}"):                      "names.uri",
		rule("names: {other: [iPAddress]}"):               "names.other",
		rule("subject: {XX: {}}"):                         "subject",
		rule("subject: {O: {}, 2.5.4.10: {}}"):            "twice",
		rule("subject: {O: {values: ['']}}"):              "subject.O",
		rule("keys: [RSA]"):                               "least number",
		rule("keys: ['*']"):                               "keys",
		rule("keys: [RSA 512]"):                           "1024",
		rule("keys: [RSA 2048, RSA 3072]"):                "one least number",
		rule("max_validity: 90"):                          "90d",
		rule("max_validity: -1d"):                         "90d",
		rule("requests_per_minute: -1"):                   "requests_per_minute",
		rule("longer_validity: cut"):                      "needs max_validity",
		rule("{max_validity: 1d, longer_validity: trim}"): "trim",
		rule("extensions: ['*']"):                         "extensions",
		rule("extensions: [subjectAltName]"):              "rule of its own",
		rule("extensions: [2.5.29.37]"):                   "rule of its own",
		rule("ekus: [tlsServer]"):                         "ekus",
		rule("revoke: {serials: mine}"):                   "revoke.serials",
		rule("revoke: {reasons: [because]}"):              "revoke.reasons",
		strings.Repeat("#", MaxBytes+1):                   "larger than",
	} {
		if p, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80q: got %v, %v, want an error with %q", text, p, err, want)
		}
	}
}

func TestPolicyTellsItsRules(t *testing.T) {
	t.Parallel()
	p := mustParse(t, shop)
	if r, ok := p.Rules("shop"); !ok || r.Kinds[0] != "issue" || p.Producers()[0] != "shop" {
		t.Errorf("got %+v of %v", r, p.Producers())
	}
	if _, ok := p.Rules("other"); ok {
		t.Error("there are rules for a producer that has none")
	}
	if p.Digest() == mustParse(t, shop+"\n").Digest() {
		t.Error("two files have one digest")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(shop))
	f.Add([]byte("producers:\n  a:\n    subject: {O: {values: [x], required: true}}\n    keys: [RSA 2048]\n    max_validity: 90d\n    longer_validity: cut\n"))
	plain := request(f, []part{cn("a.example")})
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse(data)
		if err != nil {
			return
		}
		for _, producer := range append(p.Producers(), "nobody") {
			v := p.Judge(Request{Producer: producer, Body: &entrustbus.Issue{ID: "a", CSRDER: plain}, CA: "ca-1"})
			if _, ok := p.Rules(producer); v.Denial == nil && !ok {
				t.Errorf("a producer without rules may ask")
			}
		}
	})
}
