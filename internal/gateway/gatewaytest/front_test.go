package gatewaytest_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
)

func TestFaultOfOneCA(t *testing.T) {
	t.Parallel()
	e := setup(t, gatewaytest.Config{
		CAIDs:  []string{"one", "two"},
		Faults: []gatewaytest.Fault{{CA: "two", Kind: gatewaytest.FaultStatus, Status: 503}},
	})
	for _, op := range []string{"", "/enrollments/ENR-1"} {
		e.must("GET", "/two"+op, nil, 503)
	}
	e.must("GET", "/one", nil, 200)
	e.must("GET", "/one/enrollments/ENR-1", nil, 404) // only the order is unknown, not the path
}

// A GOAWAY, or the end of an HTTP/1.1 connection, follows a correct answer.
func TestFaultGoAway(t *testing.T) {
	t.Parallel()
	for _, http1 := range []bool{false, true} {
		e := setup(t, gatewaytest.Config{HTTP1Only: http1, Faults: []gatewaytest.Fault{
			{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultGoAway, Times: 1},
		}})
		for i, name := range []string{"a.example.net", "b.example.net", "c.example.net"} {
			e.enrollFlat(csrOf(t, name), 200)
			if opened, _ := e.gw.Connections(); opened != min(i+1, 2) {
				t.Errorf("HTTP/1.1 %v: %d connections after %d orders, want a second one after the first", http1, opened, i+1)
			}
		}
	}
}

// A client that does not know the limit of streams yet gets REFUSED_STREAM for the others. Its
// transport sends requests without a body again by itself.
func TestMaxStreams(t *testing.T) {
	t.Parallel()
	e := setup(t, gatewaytest.Config{MaxStreams: 1, Latency: 20 * time.Millisecond})
	done := make(chan error)
	for range 8 {
		go func() {
			_, err := e.ask("GET", e.ca(""), nil)
			done <- err
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if opened, _ := e.gw.Connections(); opened < 2 {
		t.Errorf("8 requests at once took %d connections of one stream", opened)
	}
}

// The server closes a connection that is idle for the announced time.
func TestIdleTimeout(t *testing.T) {
	t.Parallel()
	e := setup(t, gatewaytest.Config{HTTP1Only: true, IdleTimeout: time.Second})
	if got := e.must("GET", e.ca(""), nil, 200).header.Get("Keep-Alive"); got != "timeout=1" {
		t.Errorf("Keep-Alive: %q, want timeout=1", got)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if _, open := e.gw.Connections(); open == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the connection is still open")
		}
	}
	over := setup(t, gatewaytest.Config{IdleTimeout: time.Second})
	if got := over.must("GET", over.ca(""), nil, 200).header.Get("Keep-Alive"); got != "" {
		t.Errorf("Keep-Alive: %q over HTTP/2, want none", got)
	}
}

func TestAge(t *testing.T) {
	t.Parallel()
	const year = 365 * 24 * time.Hour
	e := setup(t, gatewaytest.Config{Age: 3 * year})
	var begins time.Time
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, e.gw.URL()+"/v1/certificate-authorities"+e.ca(""), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := e.hc.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	for _, cert := range resp.TLS.PeerCertificates {
		begins = cert.NotBefore
		if age := time.Since(begins); age < 3*year || age > 3*year+time.Hour {
			t.Errorf("%s began %v ago, want 3 years", cert.Subject, age)
		}
	}
	if begins.IsZero() {
		t.Error("the server showed no certificate")
	}
}
