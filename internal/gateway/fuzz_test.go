package gateway

import (
	"crypto/x509"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/entrust-worker/entrust-worker/entrustbus/san"
)

// addRecorded seeds a fuzz target with every answer in testdata/recorded, with its
// placeholders replaced.
func addRecorded(f *testing.F) (spki []byte) {
	ca := newTestCA(f)
	csr := newCSR(f, "shop.example.net")
	var pairs []string
	for name, value := range stand(ca, csr) {
		text, _ := json.Marshal(value)
		pairs = append(pairs, "{{"+name+"}}", string(text[1:len(text)-1]))
	}
	fill := strings.NewReplacer(pairs...)
	files, err := filepath.Glob("testdata/recorded/*.json")
	if err != nil || len(files) == 0 {
		f.Fatalf("no recorded answers: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		var rec struct {
			Exchanges []struct {
				Answer json.RawMessage
				Text   string
			}
		}
		if err := json.Unmarshal(data, &rec); err != nil {
			f.Fatal(err)
		}
		for _, ex := range rec.Exchanges {
			f.Add([]byte(fill.Replace(string(ex.Answer) + ex.Text)))
		}
	}
	return csr.RawSubjectPublicKeyInfo
}

// sane fails the test for a text that is not one bounded line.
func sane(t *testing.T, s string, limit int) {
	t.Helper()
	if utf8.RuneCountInString(s) > limit || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) || strings.Contains(s, "-----BEGIN") {
		t.Errorf("unfit for a log: %q", s)
	}
}

func fuzzOrder(f *testing.F, d dialect) {
	spki := addRecorded(f)
	words := DefaultStatusWords()
	f.Fuzz(func(t *testing.T, body []byte) {
		o, err := d.order(body)
		if err != nil {
			sane(t, err.Error(), maxMessage)
			return
		}
		csr := func() *x509.CertificateRequest { return &x509.CertificateRequest{RawSubjectPublicKeyInfo: spki} }
		for _, leaf := range []*x509.Certificate{o.leaf(nil), o.leaf(csr)} {
			for _, op := range orders {
				m, problem := o.meaning(op, words, leaf)
				row := judge(op, phaseAnswered, 200, m)
				if row.end.state == Issued && leaf == nil {
					t.Errorf("issued without a certificate: %q", body)
				}
				if row.end.state == Pending && op == OpEnroll && o.trackingID == "" {
					t.Errorf("pending without an id: %q", body)
				}
				if row.end.state == 0 && row.end.fate == 0 || row.end.fate != 0 && problem == "" {
					t.Errorf("row %q says nothing about an order: %q", row.name, body)
				}
			}
			if leaf == nil {
				continue
			}
			// The checks must survive every answer.
			if _, err := CheckIssued(Answer{State: Issued, Certificate: leaf.Raw}, Expectation{AnyKey: true}); err != nil {
				sane(t, err.Error(), maxMessage+100)
			}
			child := leaf
			var l links
			above, left := l.above(leaf, o.chain, time.Now())
			for _, cert := range above {
				if signed(cert, child) != nil {
					t.Errorf("a chain that does not link: %q", body)
				}
				child = cert
			}
			sane(t, left.warning(), maxMessage)
		}
		failed := Error{Message: "x"}
		failed.keep(o)
		sane(t, failed.Message, maxMessage)
	})
}

func FuzzOrderCertctl(f *testing.F) { fuzzOrder(f, certctl{}) }

func FuzzOrderCAGW(f *testing.F) { fuzzOrder(f, cagw{}) }

func FuzzAction(f *testing.F) {
	addRecorded(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, d := range []dialect{certctl{}, cagw{}} {
			if word, err := d.action(body); err != nil && word != "" {
				t.Errorf("word %q beside %v", word, err)
			}
		}
	})
}

func FuzzErrorBody(f *testing.F) {
	addRecorded(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, d := range []Dialect{DialectCAGW, DialectCertctl, DialectAuto} {
			r := readRefusal(body, d)
			sane(t, r.code, maxCode)
			sane(t, r.message, maxMessage)
			for _, op := range allOps {
				if m := r.meaning(op); r.own == (m == meansNothing) {
					t.Errorf("%+v means %d", r, m)
				}
			}
		}
		code, message := readReason(body)
		sane(t, code, maxCode)
		sane(t, message, maxMessage)
	})
}

func FuzzEvents(f *testing.F) {
	spki := addRecorded(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		page, err := readEvents(body, keyBits(spki))
		if err != nil {
			sane(t, err.Error(), maxMessage)
		}
		sane(t, page.problem, maxMessage)
		for _, ev := range page.events {
			if ev.cert == nil || string(keyBits(ev.cert.RawSubjectPublicKeyInfo)) != string(keyBits(spki)) {
				t.Errorf("an event for another key is kept")
			}
			ev.judge(Search{SANs: []SAN{{Type: SANDNS, Value: "shop.example.net"}}, Since: time.Unix(0, 0)})
		}
	})
}

func FuzzCA(f *testing.F) {
	addRecorded(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		if d, err := readDialect(body); (err == nil) != (d == DialectCAGW || d == DialectCertctl) {
			t.Errorf("dialect %q, %v", d, err)
		}
		if given, _, err := readChain(body); (err == nil) != (len(given.certs) > 0) {
			t.Errorf("%d certificates, %v", len(given.certs), err)
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"", "0", "120", "-1", "99999999999999999999", "Fri, 31 Dec 1999 23:59:59 GMT", "1.5", "soon"} {
		f.Add(s, 429)
	}
	c := &Client{cfg: Config{}.withDefaults()}
	f.Fuzz(func(t *testing.T, value string, status int) {
		got := c.retryAfter(http.Header{"Retry-After": {value}}, status, time.Unix(1e9, 0))
		if got < 0 || got > c.cfg.RetryAfterMax || status == 429 && got < c.cfg.ThrottleFloor {
			t.Errorf("%q under %d: %s", value, status, got)
		}
	})
}

func FuzzNames(f *testing.F) {
	csr := newCSR(f, "shop.example.net", "192.0.2.7")
	f.Add(csr.Extensions[0].Value, csr.RawSubject)
	f.Fuzz(func(t *testing.T, sans, subject []byte) {
		if list, err := san.ReadValue(sans); err == nil {
			for _, name := range list {
				if name.Type == SANOther {
					wireName(name)
				}
				_ = name.Check()
				name.CoveredBy(name)
			}
		}
		_, _ = distinguishedName(subject)
	})
}

func FuzzClean(f *testing.F) {
	f.Add("-----BEGIN X-----\nabc\n-----END X-----")
	f.Add(strings.Repeat("A", 300))
	f.Fuzz(func(t *testing.T, s string) { sane(t, clean(s), maxMessage) })
}
