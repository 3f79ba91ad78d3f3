package gateway

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestFindMatches(t *testing.T) {
	t.Parallel()
	ca := newTestCA(t)
	csr := newCSR(t, "shop.example.net")
	since := time.Now()
	valid := func(from time.Duration) *x509.Certificate {
		return ca.issue(csr, func(c *x509.Certificate) { c.NotBefore = since.Add(from) })
	}
	stamp := func(d time.Duration) string { return since.Add(d).UTC().Format(time.RFC3339Nano) }
	tests := []struct {
		name  string
		event jsonMap
		found bool
		doubt string // a part of the problem
	}{
		{"issued now", jsonMap{"action": "issued", "eventDate": stamp(time.Second), "certificate": b64(valid(0))}, true, ""},
		{"within the skew", jsonMap{"action": "issued", "eventDate": stamp(-4 * time.Minute), "certificate": b64(valid(-4 * time.Minute))}, true, ""},
		{"before the skew", jsonMap{"action": "issued", "eventDate": stamp(-6 * time.Minute), "certificate": b64(valid(-6 * time.Minute))}, false, ""},
		{"backdated by its CA", jsonMap{"action": "created", "eventDate": stamp(0), "certificate": b64(valid(-time.Hour))}, true, ""},
		{"backdated, zone without colon", jsonMap{"action": "issued", "eventDate": since.UTC().Format("2006-01-02T15:04:05.000+0000"), "certificate": b64(valid(-time.Hour))}, true, ""},
		{"backdated, milliseconds", jsonMap{"action": "issued", "eventDate": since.UnixMilli(), "certificate": b64(valid(-time.Hour))}, true, ""},
		{"older, milliseconds", jsonMap{"action": "issued", "eventDate": since.Add(-time.Hour).UnixMilli(), "certificate": b64(valid(-time.Hour))}, false, ""},
		{"backdated, no date", jsonMap{"action": "issued", "certificate": b64(valid(-time.Hour))}, false, "date cannot be read"},
		{"backdated, date without zone", jsonMap{"action": "issued", "eventDate": "2026-03-01 12:00:00", "certificate": b64(valid(-time.Hour))}, false, "date cannot be read"},
		{"backdated, unknown action", jsonMap{"action": "updated", "eventDate": stamp(0), "certificate": b64(valid(-time.Hour))}, false, "action is unknown"},
		{"used before, unknown action", jsonMap{"action": "updated", "eventDate": stamp(0), "certificate": b64(valid(-49 * time.Hour))}, false, ""},
		{"issued, too old for it", jsonMap{"action": "issued", "eventDate": stamp(0), "certificate": b64(valid(-49 * time.Hour))}, false, "too old"},
		{"no date", jsonMap{"certificate": b64(valid(0))}, true, ""},
		{"date of another form", jsonMap{"eventDate": "yesterday", "certificate": b64(valid(0))}, true, ""},
		{"PEM", jsonMap{"certificate": pemOf(valid(0))}, true, ""},
		{"revoked since", jsonMap{"action": "revoked", "eventDate": stamp(time.Second), "certificate": b64(valid(0))}, true, ""}, // it was issued
		{"older one revoked since", jsonMap{"action": "revoked", "eventDate": stamp(time.Second), "certificate": b64(valid(-time.Hour))}, false, ""},
		{"older one put on hold", jsonMap{"action": "held", "eventDate": stamp(time.Second), "certificate": b64(valid(-time.Hour))}, false, ""},
		{"older one taken off hold", jsonMap{"action": "UnholdAction", "eventDate": stamp(time.Second), "certificate": b64(valid(-time.Hour))}, false, ""},
		{"other key", jsonMap{"certificate": b64(ca.issue(newCSR(t, "shop.example.net"), nil))}, false, ""},
		{"other names", jsonMap{"certificate": b64(ca.issue(csr, func(c *x509.Certificate) { c.DNSNames = []string{"www.example.net"} }))}, false, "other names"},
		{"about no certificate", jsonMap{"action": "crlIssued"}, false, ""},
		{"revoked, without certificate", jsonMap{"action": "revoked", "serialNumber": "12"}, false, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, Config{Dialect: DialectCAGW}, func(w http.ResponseWriter, r *http.Request) {
				if start := r.URL.Query().Get("startDate"); start != "" && start != since.Add(-5*time.Minute).UTC().Format(time.RFC3339) {
					t.Errorf("startDate = %q", start)
				}
				always(200, asJSON(t, jsonMap{"events": []jsonMap{tt.event}}))(w, r)
			})
			a, found, err := c.Find(t.Context(), Search{CSR: csr, Since: since})
			if tt.doubt != "" {
				if found || FateOf(err) != Unreadable || !strings.Contains(err.Error(), tt.doubt) {
					t.Fatalf("Find: %v, %v; want a problem with %q", found, err, tt.doubt)
				}
				return
			}
			if err != nil || found != tt.found {
				t.Fatalf("Find: %v, %v; want %v", found, err, tt.found)
			}
			if !found {
				return
			}
			if _, err := CheckIssued(a, Expectation{PublicKey: csr.PublicKey}); err != nil || a.State != Issued {
				t.Errorf("%v: %v", a.State, err)
			}
		})
	}
}

// TestFindGoesOnPastADoubt has an ambiguous event before the wanted one.
func TestFindGoesOnPastADoubt(t *testing.T) {
	t.Parallel()
	ca := newTestCA(t)
	csr := newCSR(t, "shop.example.net")
	other := ca.issue(csr, func(c *x509.Certificate) { c.DNSNames = []string{"www.example.net"} })
	want := ca.issue(csr, nil)
	c := newClient(t, Config{Dialect: DialectCAGW}, func(w http.ResponseWriter, r *http.Request) {
		page := jsonMap{"events": []jsonMap{{"certificate": b64(other)}, {"certificate": "%%%"}}, "hasMore": true, "nextPageIndex": 2}
		if r.URL.Query().Get("nextPageIndex") != "" {
			page = jsonMap{"events": []jsonMap{{"certificate": b64(want)}}}
		}
		always(200, asJSON(t, page))(w, r)
	})
	a, found, err := c.Find(t.Context(), Search{CSR: csr, Since: time.Now()})
	if err != nil || !found || !bytes.Equal(a.Certificate, want.Raw) {
		t.Errorf("Find: %v, %v", found, err)
	}
}

// TestFindKnowsAKeyInAnotherEncoding has an RSA key whose algorithm lacks its null parameters.
func TestFindKnowsAKeyInAnotherEncoding(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"shop.example.net"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	want := newTestCA(t).issue(csr, nil)
	type algorithm struct{ OID asn1.ObjectIdentifier }
	bare := mustMarshal(t, struct {
		Algorithm algorithm
		Key       asn1.BitString
	}{algorithm{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}}, asn1.BitString{Bytes: keyBits(spki), BitLength: 8 * len(keyBits(spki))}})
	if bytes.Equal(bare, csr.RawSubjectPublicKeyInfo) {
		t.Fatal("the encodings are the same")
	}
	csr.RawSubjectPublicKeyInfo = bare
	c := newClient(t, Config{Dialect: DialectCAGW}, always(200, asJSON(t, jsonMap{"events": []jsonMap{{"certificate": b64(want)}}})))
	if _, found, err := c.Find(t.Context(), Search{CSR: csr, Since: time.Now()}); err != nil || !found {
		t.Errorf("Find: %v, %v", found, err)
	}
}

func TestFindWaitsBetweenPages(t *testing.T) {
	t.Parallel()
	csr := newCSR(t, "shop.example.net")
	stop := errors.New("stopping")
	tests := []struct {
		name   string
		status func(n int) int // of call n, which counts from 1
		stopAt int             // the wait that ends the look-up; 0: none
		calls  int
		waits  string // one letter for each: w before a page, t for a throttled one
		want   Fate
	}{
		{"every page but the first", func(int) int { return 200 }, 0, 4, "www", 0},
		{"a page throttled once", func(n int) int { return map[bool]int{true: 429, false: 200}[n == 3] }, 0, 5, "wwtw", 0}, // continues at that page
		{"a page throttled for long", func(n int) int { return map[bool]int{true: 429, false: 200}[n >= 3] }, 0, 6, "wwttt", Throttled},
		{"the first throttled", func(int) int { return 429 }, 0, 1, "", Throttled},
		{"told to stop", func(int) int { return 200 }, 2, 2, "ww", Unknown},
		{"told to stop when throttled", func(n int) int { return map[bool]int{true: 429, false: 200}[n == 2] }, 2, 2, "wt", Unknown},
	}
	for _, tt := range tests {
		calls, waits := 0, ""
		c := newClient(t, Config{Dialect: DialectCAGW}, func(w http.ResponseWriter, r *http.Request) {
			calls++
			at, _ := strconv.Atoi(r.URL.Query().Get("nextPageIndex"))
			always(tt.status(calls), asJSON(t, jsonMap{"events": []any{}, "hasMore": at < 3, "nextPageIndex": at + 1}))(w, r)
		})
		_, _, err := c.Find(t.Context(), Search{CSR: csr, Since: time.Now(), Wait: func(_ context.Context, throttled error) error {
			if waits += "w"; throttled != nil {
				waits = waits[:len(waits)-1] + "t"
			}
			if len(waits) == tt.stopAt {
				return stop
			}
			return nil
		}})
		if FateOf(err) != tt.want || errors.Is(err, stop) != (tt.stopAt > 0) || calls != tt.calls || waits != tt.waits {
			t.Errorf("%s: %v, %d calls, waits %q; want fate %v, %d, %q", tt.name, err, calls, waits, tt.want, tt.calls, tt.waits)
		}
	}
}

// TestFindProvesNothing checks that only a listing that was read to its end means "none".
func TestFindProvesNothing(t *testing.T) {
	t.Parallel()
	csr := newCSR(t, "shop.example.net")
	spki := string(csr.RawSubjectPublicKeyInfo)
	tests := []struct {
		name  string
		pages func(n int) string // n counts from 1
		want  Fate
		calls int
	}{
		{"page limit", func(n int) string { return `{"events":[],"hasMore":true,"nextPageIndex":` + strconv.Itoa(n) + `}` }, Unreadable, 20},
		{"no next page", func(int) string { return `{"events":[],"morePages":true}` }, Unreadable, 1},
		{"null next page", func(int) string { return `{"events":[],"morePages":true,"nextPageIndex":null}` }, Unreadable, 1},
		{"same page again", func(int) string { return `{"events":[],"morePages":true,"nextPageIndex":"a"}` }, Unreadable, 2},
		{"no events member", func(int) string { return `{}` }, Unreadable, 1},
		{"HTML", func(int) string { return `<html>` }, Unreadable, 1},
		{"error body", func(int) string { return `{"type":"ErrorResponse","error":{"code":"x","message":"y"}}` }, Refused, 1},
		{"certificate left out", func(int) string { return `{"events":[{"action":"issued","serialNumber":"12"}]}` }, Unreadable, 1},
		{"certificate not base64", func(int) string { return `{"events":[{"certificate":"%%%"}]}` }, Unreadable, 1},
		{"our key, unreadable", func(int) string { return asJSON(t, jsonMap{"events": []jsonMap{{"certificate": []byte("0" + spki)}}}) }, Unreadable, 1},
	}
	for _, tt := range tests {
		calls := 0
		c := newClient(t, Config{Dialect: DialectCAGW}, func(w http.ResponseWriter, r *http.Request) {
			calls++
			always(200, tt.pages(calls))(w, r)
		})
		_, found, err := c.Find(t.Context(), Search{CSR: csr, Since: time.Now()})
		if found || FateOf(err) != tt.want {
			t.Errorf("%s: %v, %v; want fate %v", tt.name, found, err, tt.want)
		}
		if calls != tt.calls {
			t.Errorf("%s: %d calls, want %d", tt.name, calls, tt.calls)
		}
		if tt.name == "page limit" && !strings.Contains(err.Error(), "more events than a look-up reads") {
			t.Errorf("%s: %v names no setting", tt.name, err)
		}
		if err != nil && strings.Contains(err.Error(), spki) {
			t.Errorf("%s: the key is in the error", tt.name)
		}
	}
}
