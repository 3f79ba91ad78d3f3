package gatewaytest_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"software.sslmate.com/src/go-pkcs12"
)

func TestClientFiles(t *testing.T) {
	t.Parallel()
	e := setup(t, gatewaytest.Config{})
	before, err := tls.LoadX509KeyPair(e.gw.ClientCert(), e.gw.ClientKey())
	if err != nil {
		t.Fatal(err)
	}
	e.must("GET", e.ca(""), nil, 200)
	if err := e.gw.RotateClient(); err != nil {
		t.Fatal(err)
	}
	after, err := tls.LoadX509KeyPair(e.gw.ClientCert(), e.gw.ClientKey())
	if err != nil {
		t.Fatal(err)
	}
	if before.Leaf.SerialNumber.Cmp(after.Leaf.SerialNumber) == 0 {
		t.Error("the rotation left the certificate as it was")
	}
	if string(before.Leaf.RawSubject) != string(after.Leaf.RawSubject) {
		t.Error("the rotation changed the subject")
	}
	e.must("GET", e.ca(""), nil, 200) // the old pair is still accepted
	if e.hc, err = e.gw.Client(); err != nil {
		t.Fatal(err)
	}
	defer e.hc.CloseIdleConnections()
	e.must("GET", e.ca(""), nil, 200)

	p12, err1 := os.ReadFile(e.gw.ClientPKCS12())
	password, err2 := os.ReadFile(e.gw.ClientPKCS12Password())
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	_, cert, _, err := pkcs12.DecodeChain(p12, strings.TrimSpace(string(password)))
	if err != nil {
		t.Fatal(err)
	}
	if !cert.Equal(after.Leaf) {
		t.Error("the PKCS#12 holds another certificate than the PEM file")
	}
	if info, err := os.Stat(e.gw.ClientKey()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v", info.Mode(), err)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	e := setup(t, gatewaytest.Config{Names: []string{"gateway", "192.0.2.9"}})
	for _, name := range []string{"gateway", "192.0.2.9", "localhost", "127.0.0.1"} {
		e.hc.Transport.(*http.Transport).TLSClientConfig.ServerName = name
		e.hc.CloseIdleConnections()
		e.must("GET", e.ca(""), nil, 200)
	}
}

func TestConnections(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		http1 bool
		proto string
		most  int
	}{
		{"HTTP/2", false, "HTTP/2.0", 1},
		{"HTTP/1.1", true, "HTTP/1.1", 16},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := setup(t, gatewaytest.Config{HTTP1Only: tt.http1})
			e.hc.Transport.(*http.Transport).MaxConnsPerHost = 16
			e.must("GET", e.ca(""), nil, 200) // otherwise all would dial at once
			var wg sync.WaitGroup
			for range 16 {
				wg.Go(func() {
					for range 20 {
						req, err := http.NewRequestWithContext(t.Context(), "GET", e.gw.URL()+"/v1/certificate-authorities/"+e.gw.CAID(), nil)
						if err != nil {
							t.Error(err)
							return
						}
						resp, err := e.hc.Do(req)
						if err != nil {
							t.Error(err)
							return
						}
						if _, err := readAll(resp); err != nil || resp.StatusCode != 200 || resp.Proto != tt.proto {
							t.Errorf("got %d over %s, %v", resp.StatusCode, resp.Proto, err)
							return
						}
					}
				})
			}
			wg.Wait()
			opened, _ := e.gw.Connections()
			if opened < 1 || opened > tt.most {
				t.Errorf("got %d connections, want at least 1 and at most %d", opened, tt.most)
			}
			e.hc.CloseIdleConnections()
			eventually(t, "connections to close", func() error {
				if _, open := e.gw.Connections(); open != 0 {
					return net.ErrClosed
				}
				return nil
			})
		})
	}
}

// TestBubble waits a day for an approval, in the fake time of a bubble.
func TestBubble(t *testing.T) {
	t.Parallel()
	for _, http1 := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			e := setup(t, gatewaytest.Config{
				InMemory: true, HTTP1Only: http1, RecordPolls: true,
				ApproveAfter: 24 * time.Hour, Latency: time.Second,
			})
			start := time.Now()
			id := e.enrollFlat(csrOf(t, "pending-a.example.net"), 201).TrackingID
			if took := time.Since(start); took != time.Second {
				t.Errorf("enrollment took %v, want the latency of 1s", took)
			}
			polls := 0
			for e.pollFlat(id).Status != "ISSUED" {
				polls++
				time.Sleep(time.Hour)
			}
			if polls != 24 {
				t.Errorf("issued after %d polls, want 24", polls)
			}
			p, err := e.gw.PollsOf(id)
			if err != nil {
				t.Fatal(err)
			}
			if p.Count != 25 || p.ShortestGap != time.Hour+time.Second {
				t.Errorf("got %+v", p)
			}
		})
	}
}

func TestBubbleCloseEndsLatency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := setup(t, gatewaytest.Config{InMemory: true, Latency: time.Hour})
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, "GET", e.gw.URL()+"/v1/certificate-authorities/"+e.gw.CAID(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := e.hc.Do(req); err == nil {
			t.Fatalf("got %d before the latency was over", resp.StatusCode)
		}
		if err := e.gw.Close(); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != time.Minute {
			t.Errorf("Close waited until %v, want it at once", took)
		}
	})
}

func TestStartRefusals(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]gatewaytest.Config{
		"dialect":     {Dialect: "acme"},
		"base path":   {BasePath: "cagw"},
		"fraction":    {PendingFraction: 1.5},
		"latency":     {Latency: -1},
		"persistence": {Persist: true},
		"validity":    {DefaultValidity: 48 * time.Hour, MaxValidity: time.Hour},
		"event flag":  {EventFlag: "more"},
		"fault":       {Faults: []gatewaytest.Fault{{Kind: "no"}}},
		"address":     {Addr: "256.0.0.1:0"},
		"control":     {AdminAddr: "256.0.0.1:0"},
	} {
		if gw, err := gatewaytest.Start(cfg); err == nil {
			gw.Close()
			t.Errorf("%s: was accepted", name)
		}
	}
}
