package gateway

import (
	"crypto/x509"
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
	}{
		{"issued now", jsonMap{"action": "issued", "eventDate": stamp(time.Second), "certificate": b64(valid(0))}, true},
		{"within the skew", jsonMap{"action": "issued", "eventDate": stamp(-4 * time.Minute), "certificate": b64(valid(-4 * time.Minute))}, true},
		{"before the skew", jsonMap{"action": "issued", "eventDate": stamp(-6 * time.Minute), "certificate": b64(valid(-6 * time.Minute))}, false},
		{"backdated by its CA", jsonMap{"action": "created", "eventDate": stamp(0), "certificate": b64(valid(-time.Hour))}, true},
		{"no date", jsonMap{"certificate": b64(valid(0))}, true},
		{"no date, older", jsonMap{"certificate": b64(valid(-time.Hour))}, false},
		{"date of another form", jsonMap{"eventDate": "yesterday", "certificate": b64(valid(0))}, true},
		{"PEM", jsonMap{"certificate": pemOf(valid(0))}, true},
		{"revoked since", jsonMap{"action": "revoked", "eventDate": stamp(time.Second), "certificate": b64(valid(0))}, true}, // it was issued
		{"older one revoked since", jsonMap{"action": "revoked", "eventDate": stamp(time.Second), "certificate": b64(valid(-time.Hour))}, false},
		{"older one taken off hold", jsonMap{"action": "UnholdAction", "eventDate": stamp(time.Second), "certificate": b64(valid(-time.Hour))}, false},
		{"other key", jsonMap{"certificate": b64(ca.issue(newCSR(t, "shop.example.net"), nil))}, false},
		{"other names", jsonMap{"certificate": b64(ca.issue(csr, func(c *x509.Certificate) { c.DNSNames = []string{"www.example.net"} }))}, false},
		{"about no certificate", jsonMap{"action": "crlIssued"}, false},
		{"revoked, without certificate", jsonMap{"action": "revoked", "serialNumber": "12"}, false},
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

// TestFindProvesNothing holds that only a listing read to its end says "none".
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
		{"page limit", func(n int) string { return `{"events":[],"hasMore":true,"nextPageIndex":` + strconv.Itoa(n) + `}` }, Unknown, 20},
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
		if err != nil && strings.Contains(err.Error(), spki) {
			t.Errorf("%s: the key is in the error", tt.name)
		}
	}
}
