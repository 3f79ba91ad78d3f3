package gateway

import (
	"crypto/tls"
	"io"
	"net/http"
	"testing"
	"time"
)

func TestKeepAliveLimit(t *testing.T) {
	t.Parallel()
	const ms, s = time.Millisecond, time.Second
	for value, want := range map[string]time.Duration{
		"timeout=5, max=100": 4 * s, "max=100, timeout=20": 18 * s, "Timeout = 75": 67500 * ms, `timeout="15"`: 13500 * ms,
		"timeout=1": 500 * ms, "timeout=2": s, "timeout=0": 0, "timeout=-5": 0, "timeout=x": 0, "timeout": 0, "max=5": 0, "": 0,
		"timeout=99999999999999999999": 0,
	} {
		if got := keepAliveLimit([]string{value}); got != want {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
	if got := keepAliveLimit([]string{"max=7", "timeout=5"}); got != 4*s {
		t.Errorf("two headers: %s", got)
	}
}

type limitedTransport struct {
	http.RoundTripper
	limits []time.Duration
}

func (t *limitedTransport) LimitIdle(d time.Duration) { t.limits = append(t.limits, d) }

// TestKeepAliveIsObeyed checks that the transport gets each limit once.
func TestKeepAliveIsObeyed(t *testing.T) {
	t.Parallel()
	headers := []string{"", "Keep-Alive: timeout=5\r\n", "Keep-Alive: timeout=5, max=99\r\n", "", "Keep-Alive: timeout=3\r\n"}
	n := 0
	url, tr := rawServer(t, &tls.Config{NextProtos: []string{"http/1.1"}}, serveHTTP1(func(w io.Writer, _ *http.Request) bool {
		ok(w, `{"caId":"ca-1"}`, headers[n])
		n++
		return true
	}))
	limited := &limitedTransport{RoundTripper: tr}
	c, err := New(Config{URL: url, CAID: "ca-1", Dialect: DialectCertctl}, &http.Client{Transport: limited}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range headers {
		if err := c.Probe(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := limited.limits; len(got) != 2 || got[0] != 4*time.Second || got[1] != 2*time.Second {
		t.Errorf("the transport was told %v", got)
	}
}

// TestStaleConnections has a server close connections as soon as they are idle, while
// enrollments come at the same rate. The client starts an enrollment again if it did not reach
// the network. It writes none twice, and reports none as written that the server did not get.
func TestStaleConnections(t *testing.T) {
	t.Parallel()
	const pause = 2 * time.Millisecond
	url, tr := rawServer(t, &tls.Config{NextProtos: []string{"http/1.1"}}, func(tc *tls.Conn) {
		serveHTTP1(func(w io.Writer, _ *http.Request) bool {
			ok(w, `{"trackingId":"t","status":"PENDING"}`, "")
			time.Sleep(pause)
			return false
		})(tc)
	})
	c, err := New(Config{URL: url, CAID: "ca-1", Dialect: DialectCertctl}, &http.Client{Transport: tr}, nil)
	if err != nil {
		t.Fatal(err)
	}
	csr := newCSR(t)
	fates := map[Fate]int{}
	for range 300 {
		_, err := c.Enroll(t.Context(), Enrollment{CSR: csr, BeforeLastByte: func() error { return nil }})
		fates[FateOf(err)]++
		if e, failed := err.(*Error); failed && e.Written != (e.Fate == Unknown) {
			t.Errorf("%v, written: %v", err, e.Written)
		}
		time.Sleep(pause)
	}
	t.Logf("issued or pending %d, not accepted %d, unknown %d", fates[0], fates[NotAccepted], fates[Unknown])
	if fates[0] == 0 || fates[0]+fates[NotAccepted]+fates[Unknown] != 300 {
		t.Errorf("fates: %v", fates)
	}
}
