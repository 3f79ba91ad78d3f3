package mtlscache_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/mtlscache"
)

// A hold delays each request for /hold until it is released.
type hold struct{ entered, release chan struct{} }

func newHold() *hold { return &hold{make(chan struct{}), make(chan struct{})} }

func (h *hold) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/hold" {
		h.entered <- struct{}{}
		<-h.release
	}
}

// A crowd delays requests until a number of them is in flight at the same time.
type crowd struct {
	wait     atomic.Int64
	complete chan struct{}
}

func newCrowd(n int64) *crowd {
	c := &crowd{complete: make(chan struct{})}
	c.wait.Store(n)
	return c
}

func (c *crowd) ServeHTTP(http.ResponseWriter, *http.Request) {
	switch n := c.wait.Add(-1); {
	case n == 0:
		close(c.complete)
	case n > 0:
		<-c.complete
	}
}

// TestConnectionsMade makes a thousand calls, 64 at a time from a cold start. It runs
// in a bubble, since net/http drops a connection if a busy machine delays its writer
// by 50 ms.
func TestConnectionsMade(t *testing.T) {
	t.Parallel()
	const calls, callers = 1000, 64
	for _, tc := range []struct {
		http2 bool
		most  int64
	}{
		{false, callers},
		{true, 4},
	} {
		t.Run(fmt.Sprintf("HTTP2=%t", tc.http2), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				pipe := newPipe()
				g := &gateway{inner: newCrowd(callers)}
				r := newPiped(t, g, pipe.dial)
				g.serve(t, pipe, r.ca.serverTLS(t), tc.http2)
				var (
					wg   sync.WaitGroup
					left atomic.Int64
				)
				left.Store(calls)
				for range callers {
					wg.Go(func() {
						for left.Add(-1) >= 0 {
							if _, err := r.call(t.Context()); err != nil {
								t.Error(err)
							}
						}
					})
				}
				wg.Wait()
				if got := g.made.Load(); got > tc.most {
					t.Errorf("%d connections made for %d calls at %d, want at most %d", got, calls, callers, tc.most)
				}
			})
		})
	}
}

// TestMoreCallsThanStreams has more calls in flight than one HTTP/2 connection of the
// gateway carries (100). It runs in a bubble, where no handshake takes too long.
func TestMoreCallsThanStreams(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const callers = 250
		pipe := newPipe()
		g := &gateway{inner: newCrowd(callers)}
		r := newPiped(t, g, pipe.dial)
		g.serve(t, pipe, r.ca.serverTLS(t), true)
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				if _, err := r.call(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got := g.made.Load(); got < 3 {
			t.Errorf("%d calls of 100 a connection were carried by %d", callers, got)
		}
	})
}

// A pipeListener accepts the pipes of its dial function. Timed tests cannot use
// loopback, which stops the clock of a bubble.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	close sync.Once
}

func newPipe() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *pipeListener) dial(context.Context, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case l.conns <- there:
		return here, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.close.Do(func() { close(l.done) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// newPiped returns a rig for a bubble. dial makes its connections.
func newPiped(t *testing.T, g *gateway, dial func(context.Context, string, string) (net.Conn, error)) *rig {
	t.Helper()
	g.url = "https://127.0.0.1"
	ca := newAuthority(t)
	r := &rig{dir: t.TempDir(), ca: ca, first: ca.client(t), gateway: g}
	r.write(t, r.path("both.pem"), append(r.first.certPEM, r.first.keyPEM...))
	r.write(t, r.path("ca.pem"), ca.certPEM)
	var err error
	r.cache, err = mtlscache.New(mtlscache.Config{
		CertFile: r.path("both.pem"), KeyFile: r.path("both.pem"), ServerCAFile: r.path("ca.pem"),
		MaxConnsPerHost: 64, DialTimeout: 10 * time.Second, DialContext: dial,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.cache.Close)
	r.client = &http.Client{Transport: r.cache}
	return r
}

// serve answers the connections that pipe accepts.
func (g *gateway) serve(t *testing.T, pipe *pipeListener, config *tls.Config, http2 bool) {
	t.Helper()
	srv := &http.Server{Handler: g, TLSConfig: config}
	if !http2 {
		srv.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
	}
	srv.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 100}
	g.count(srv)
	go srv.ServeTLS(pipe, "", "")
	t.Cleanup(func() { srv.Close() })
}

// TestIdleConnectionsClose lets an hour pass.
func TestIdleConnectionsClose(t *testing.T) {
	t.Parallel()
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("HTTP2=%t", http2), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				pipe := newPipe()
				g := &gateway{}
				r := newPiped(t, g, pipe.dial)
				g.serve(t, pipe, r.ca.serverTLS(t), http2)

				r.mustCall(t, r.first)
				time.Sleep(14 * time.Second)
				if got := g.open.Load(); got != 1 {
					t.Errorf("%d connections open after 14s, want 1", got)
				}
				time.Sleep(2 * time.Second)
				if got := g.open.Load(); got != 0 {
					t.Errorf("%d connections open after 16s, want 0", got)
				}
				time.Sleep(time.Hour)
				r.mustCall(t, r.first)

				// A connection with an old pair closes without further calls.
				next := r.ca.client(t)
				r.replace(t, r.path("both.pem"), append(next.certPEM, next.keyPEM...), time.Time{})
				if err := r.cache.Check(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				if got := g.open.Load(); got != 0 {
					t.Errorf("%d connections of the old pair open, want 0", got)
				}
			})
		})
	}
}

// TestUnreadBody rotates while a body is only half read. The call can read the rest,
// and then its connection closes.
func TestUnreadBody(t *testing.T) {
	t.Parallel()
	hold := newHold()
	r := setup(t, true, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		io.WriteString(w, "first half, ")
		http.NewResponseController(w).Flush()
		hold.ServeHTTP(w, req)
	}), nil)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.gateway.url+"/hold", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	<-hold.entered

	next := r.ca.client(t)
	r.replace(t, r.cert, next.certPEM, time.Time{})
	r.replace(t, r.key, next.keyPEM, time.Time{})
	if err := r.cache.Check(); err != nil || r.cache.Reloads() != 1 {
		t.Fatalf("Check() = %v with %d reloads, want nil and 1", err, r.cache.Reloads())
	}
	if got := r.gateway.open.Load(); got != 1 {
		t.Errorf("%d connections open, want that of the body being read", got)
	}
	hold.release <- struct{}{}
	body, err := io.ReadAll(res.Body)
	if want := "first half, " + r.first.serial(); err != nil || string(body) != want {
		t.Errorf("body %q, %v; want %q", body, err, want)
	}
	eventually(t, "the connection is closed", func() bool { return r.gateway.open.Load() == 0 })
}
