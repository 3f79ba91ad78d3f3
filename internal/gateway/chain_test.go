package gateway

import (
	"bytes"
	"context"
	"crypto/x509"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pathGateway answers with a function in place of the network, so that it works in a bubble of
// fake time.
type pathGateway func(r *http.Request) (status int, body string)

func (g pathGateway) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	status, body := g(r)
	always(status, body)(rec, r)
	return rec.Result(), nil
}

func fakeClient(t *testing.T, g pathGateway) *Client {
	t.Helper()
	c, err := New(Config{URL: "https://gateway", CAID: "ca-1", ProfileID: "p", Dialect: DialectCAGW}, &http.Client{Transport: g}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestChainIsFetchedAgainAfterTheCAIsRenewed(t *testing.T) {
	t.Parallel()
	old, renewed := newTestCA(t), newTestCA(t)
	csr := newCSR(t)
	synctest.Test(t, func(t *testing.T) {
		ca, down, fetches := old, false, 0
		c := fakeClient(t, func(r *http.Request) (int, string) {
			if r.Method == http.MethodPost {
				return 200, asJSON(t, jsonMap{"enrollment": jsonMap{"body": b64(ca.issue(csr, nil))}})
			}
			if fetches++; down {
				return 503, ""
			}
			return 200, asJSON(t, jsonMap{"ca": jsonMap{
				"certificate": jsonMap{"certificateData": b64(ca.issuing)}, "chain": []jsonMap{{"certificateData": b64(ca.root)}, {"certificateData": b64(ca.issuing)}},
			}})
		})
		enroll := func(what string, chain, fetched int) {
			t.Helper()
			a, err := c.Enroll(t.Context(), Enrollment{CSR: csr})
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if len(a.Chain) != chain || fetches != fetched {
				t.Errorf("%s: %d chain certificates, %d fetches; want %d, %d", what, len(a.Chain), fetches, chain, fetched)
			}
			if _, err := CheckIssued(a, Expectation{PublicKey: csr.PublicKey}); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		down = true
		enroll("gateway down", 0, 1)
		enroll("not asked again at once", 0, 1)
		time.Sleep(chainPause)
		down = false
		enroll("back again", 2, 2)
		time.Sleep(24 * time.Hour)
		enroll("cached for good", 2, 2)
		ca, down = renewed, true
		enroll("the old chain does not fit", 0, 3)
		time.Sleep(chainPause)
		down = false
		enroll("the new chain", 2, 4)
		if got := c.Stats().ChainFailures; got != 3 {
			t.Errorf("ChainFailures = %d, want 3", got)
		}
	})
}

func TestChainIsFetchedOnceByMany(t *testing.T) {
	t.Parallel()
	ca := newTestCA(t)
	csr := newCSR(t)
	leaf := b64(ca.issue(csr, nil))
	fetches := 0
	c := newClient(t, Config{Dialect: DialectCAGW}, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/enrollments") {
			always(200, asJSON(t, jsonMap{"enrollment": jsonMap{"body": leaf}}))(w, r)
			return
		}
		fetches++ // the race detector reports two at once
		always(200, asJSON(t, jsonMap{"ca": jsonMap{"certificate": jsonMap{"certificateData": b64(ca.issuing)}}}))(w, r)
	})
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if a, err := c.Enroll(t.Context(), Enrollment{CSR: csr}); err != nil || len(a.Chain) != 1 {
				t.Errorf("%d chain certificates, %v", len(a.Chain), err)
			}
		})
	}
	wg.Wait()
	if fetches != 1 {
		t.Errorf("%d fetches, want 1", fetches)
	}
}

// A caller whose context ends must not wait longer for a chain. The fetch goes on for later
// callers. The race detector watches what both of them use.
func TestChainIsNotWaitedForAfterTheEnd(t *testing.T) {
	t.Parallel()
	ca := newTestCA(t)
	csr := newCSR(t)
	synctest.Test(t, func(t *testing.T) {
		fetches := 0
		c := fakeClient(t, func(r *http.Request) (int, string) {
			if r.Method == http.MethodPost {
				return 200, asJSON(t, jsonMap{"enrollment": jsonMap{"body": b64(ca.issue(csr, nil))}})
			}
			fetches++
			time.Sleep(5 * time.Second) // fake time: the first caller has one second, the second caller the rest
			return 200, asJSON(t, jsonMap{"ca": jsonMap{"certificate": jsonMap{"certificateData": b64(ca.issuing)}}})
		})
		for _, want := range []struct {
			patience time.Duration
			chain    int
			took     time.Duration
		}{{time.Second, 0, time.Second}, {time.Minute, 1, 4 * time.Second}, {time.Minute, 1, 0}} {
			begun := time.Now()
			ctx, end := context.WithTimeout(t.Context(), want.patience)
			a, err := c.Enroll(ctx, Enrollment{CSR: csr})
			end()
			if took := time.Since(begun); err != nil || len(a.Chain) != want.chain || took != want.took {
				t.Errorf("%d chain certificates after %v, %v; want %d after %v", len(a.Chain), took, err, want.chain, want.took)
			}
		}
		if fetches != 1 {
			t.Errorf("%d fetches, want 1", fetches)
		}
	})
}

func TestChainThatDoesNotFitIsLeftOut(t *testing.T) {
	t.Parallel()
	ca, other := newTestCA(t), newTestCA(t)
	csr := newCSR(t)
	c := newClient(t, Config{Dialect: DialectCAGW}, always(200, asJSON(t, jsonMap{
		"enrollment": jsonMap{"body": b64(ca.issue(csr, nil))},
		"ca":         jsonMap{"certificate": jsonMap{"certificateData": b64(other.issuing)}},
	})))
	a, err := c.Enroll(t.Context(), Enrollment{CSR: csr})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := CheckIssued(a, Expectation{PublicKey: csr.PublicKey}); err != nil || len(a.Chain) != 0 {
		t.Errorf("%d chain certificates, %v; want the certificate alone", len(a.Chain), err)
	}
	if want := []string{"chain: none of the gateway's certificates can be used: 1 not part of the path"}; !slices.Equal(a.Warnings, want) {
		t.Errorf("warnings %q, want %q", a.Warnings, want)
	}
}

// TestChainOfAnotherIssuer has a CA resource without the certificate's issuer, as where a CA was
// renewed under another name. The certificate is good all the same.
func TestChainOfAnotherIssuer(t *testing.T) {
	t.Parallel()
	ca := newTestCA(t)
	csr := newCSR(t)
	leaf := ca.issue(csr, nil)
	for _, tt := range []struct {
		dialect Dialect
		body    jsonMap
	}{
		{DialectCAGW, jsonMap{"enrollment": jsonMap{"body": b64(leaf)}, "ca": jsonMap{"certificate": jsonMap{"certificateData": b64(ca.root)}}}},
		{DialectCAGW, jsonMap{"enrollment": jsonMap{"body": b64(leaf), "chain": []jsonMap{{"certificateData": b64(ca.root)}}},
			"ca": jsonMap{"certificate": jsonMap{"certificateData": b64(ca.root)}}}},
		{DialectCertctl, jsonMap{"status": "ISSUED", "certificate": pemOf(leaf), "chain": pemOf(ca.root)}},
	} {
		var log bytes.Buffer
		c := newClientLogging(t, Config{Dialect: tt.dialect}, slog.New(slog.NewTextHandler(&log, nil)), always(200, asJSON(t, tt.body)))
		for range 2 {
			a, err := c.Enroll(t.Context(), Enrollment{CSR: csr})
			if err != nil || len(a.Chain) != 0 {
				t.Fatalf("%s: %d chain certificates, %v", tt.dialect, len(a.Chain), err)
			}
			if _, err := CheckIssued(a, Expectation{PublicKey: csr.PublicKey}); err != nil {
				t.Errorf("%s: %v", tt.dialect, err)
			}
		}
		if failures, lines := c.Stats().ChainFailures, strings.Count(log.String(), "issuer"); failures != 2 || lines != 1 {
			t.Errorf("%s: %d failures counted, %d lines logged; want 2, 1", tt.dialect, failures, lines)
		}
	}
	// The CA's resource may have what the answer lacks.
	c := newClient(t, Config{Dialect: DialectCAGW}, always(200, asJSON(t, jsonMap{
		"enrollment": jsonMap{"body": b64(leaf), "chain": []jsonMap{{"certificateData": b64(ca.root)}}},
		"ca":         jsonMap{"certificate": jsonMap{"certificateData": b64(ca.issuing)}},
	})))
	if a, err := c.Enroll(t.Context(), Enrollment{CSR: csr}); err != nil || len(a.Chain) != 1 {
		t.Errorf("%d chain certificates, %v", len(a.Chain), err)
	}
}

func TestAbove(t *testing.T) {
	t.Parallel()
	ca := newTestCA(t)
	now := time.Now()
	leaf := ca.issue(newCSR(t), nil)
	gone := ca.authority("Issuing", ca.issuingKey.Public(), ca.root, ca.rootKey, now.Add(-time.Hour))
	renewed := ca.authority("Root", ca.rootKey.Public(), nil, ca.rootKey, now.AddDate(20, 0, 0))
	goneRoot := ca.authority("Root", ca.rootKey.Public(), nil, ca.rootKey, now.Add(-time.Hour))
	for _, tt := range []struct {
		name       string
		pool, want []*x509.Certificate
	}{
		{"expired issuer before its successor", []*x509.Certificate{gone, ca.issuing, ca.root}, []*x509.Certificate{ca.issuing, ca.root}},
		{"only an expired issuer", []*x509.Certificate{gone, ca.root}, nil},
		{"two versions of the root", []*x509.Certificate{ca.issuing, ca.root, renewed}, []*x509.Certificate{ca.issuing, ca.root}},
		{"an expired root", []*x509.Certificate{ca.issuing, goneRoot, renewed}, []*x509.Certificate{ca.issuing, renewed}},
		{"others", []*x509.Certificate{leaf, ca.root}, nil},
		{"none", nil, nil},
	} {
		var l links
		if got, _ := l.above(leaf, bundle{certs: tt.pool}, now); !slices.EqualFunc(got, tt.want, (*x509.Certificate).Equal) {
			t.Errorf("%s: %d certificates, want %d", tt.name, len(got), len(tt.want))
		}
	}
}

// TestSignaturesThatAreNotVerified has a chain signed with SHA-1, which Go refuses.
func TestSignaturesThatAreNotVerified(t *testing.T) {
	t.Parallel()
	ca := newTestCA(t)
	csr := newCSR(t)
	leaf := ca.issue(csr, func(c *x509.Certificate) { c.SignatureAlgorithm = x509.ECDSAWithSHA1 })
	if err := leaf.CheckSignatureFrom(ca.issuing); err == nil {
		t.Fatal("Go verifies SHA-1")
	}
	var l links
	if above, _ := l.above(leaf, bundle{certs: []*x509.Certificate{ca.issuing}}, time.Now()); len(above) != 1 {
		t.Error("the issuer is left out")
	}
	if above, _ := l.above(leaf, bundle{certs: []*x509.Certificate{ca.root}}, time.Now()); len(above) != 0 {
		t.Error("a chain of another name is accepted")
	}
}

func TestBundlesAreArranged(t *testing.T) {
	t.Parallel()
	ca := newTestCA(t)
	csr := newCSR(t)
	leaf := ca.issue(csr, nil)
	for name, body := range map[string]jsonMap{
		"leaf repeated in the chain": {"certificate": pemOf(leaf), "chain": pemOf(leaf, ca.issuing, ca.root)},
		"root first":                 {"certificate": pemOf(leaf), "chain": pemOf(ca.root, ca.issuing)},
		"all in one":                 {"certificate": pemOf(leaf, ca.issuing, ca.root)},
		"all in one, root first":     {"certificate": pemOf(ca.root, ca.issuing, leaf)},
		"base64":                     {"certificate": b64(leaf), "chain": pemOf(ca.issuing, ca.root)},
		"text before the PEM":        {"certificate": "Certificate:\n Data: x\n" + pemOf(leaf), "chain": pemOf(ca.issuing, ca.root)},
	} {
		body["status"] = "ISSUED"
		c := newClient(t, Config{Dialect: DialectCertctl}, always(200, asJSON(t, body)))
		a, err := c.Enroll(t.Context(), Enrollment{CSR: csr})
		if err != nil || len(a.Chain) != 2 {
			t.Errorf("%s: %d chain certificates, %v", name, len(a.Chain), err)
			continue
		}
		if _, err := CheckIssued(a, Expectation{PublicKey: csr.PublicKey}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, chain := range map[string]string{"cut": pemOf(ca.issuing)[:300], "a key": strings.ReplaceAll(pemOf(ca.issuing), "CERTIFICATE", "PRIVATE KEY")} {
		c := newClient(t, Config{Dialect: DialectCertctl}, always(200, asJSON(t, jsonMap{"status": "ISSUED", "certificate": pemOf(leaf), "chain": chain})))
		a, err := c.Enroll(t.Context(), Enrollment{CSR: csr})
		if err != nil {
			t.Errorf("%s: the certificate is lost: %v", name, err)
		}
		if _, err := CheckIssued(a, Expectation{PublicKey: csr.PublicKey}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if want := []string{"chain: none of the gateway's certificates can be used: 1 cannot be read"}; len(a.Chain) != 0 || !slices.Equal(a.Warnings, want) {
			t.Errorf("%s: %d chain certificates, warnings %q, want %q", name, len(a.Chain), a.Warnings, want)
		}
	}
}
