package mtlscache_test

import (
	"context"
	"crypto/tls"
	"errors"
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

// A hold keeps each request for /hold until it is released.
type hold struct{ entered, release chan struct{} }

func newHold() *hold { return &hold{make(chan struct{}), make(chan struct{})} }

func (h *hold) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/hold" {
		h.entered <- struct{}{}
		<-h.release
	}
}

// A crowd keeps requests until a number of them is there at the same time.
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

// TestConnectionsMade makes a thousand calls, 64 at a time from a cold start.
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
			r := setup(t, tc.http2, newCrowd(callers), func(cfg *mtlscache.Config) { cfg.MaxConnsPerHost = callers })
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
			if got := r.gateway.made.Load(); got > tc.most {
				t.Errorf("%d connections made for %d calls at %d, want at most %d", got, calls, callers, tc.most)
			}
		})
	}
}

// TestMoreCallsThanStreams has more calls in flight than the gateway lets one
// HTTP/2 connection carry (100).
func TestMoreCallsThanStreams(t *testing.T) {
	t.Parallel()
	const callers = 250
	r := setup(t, true, newCrowd(callers), func(cfg *mtlscache.Config) { cfg.MaxConnsPerHost = callers })
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			if _, err := r.call(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := r.gateway.made.Load(); got < 3 {
		t.Errorf("%d calls of 100 a connection were carried by %d", callers, got)
	}
}

// TestUnreachable has calls meet a gateway that cannot be dialed: each ends
// after its own dial and that of the call which went ahead, and says why.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ca := newAuthority(t)
		r := &rig{dir: t.TempDir(), first: ca.client(t), gateway: &gateway{url: "https://127.0.0.1"}}
		r.write(t, r.path("both.pem"), append(r.first.certPEM, r.first.keyPEM...))
		cache, err := mtlscache.New(mtlscache.Config{
			CertFile: r.path("both.pem"), KeyFile: r.path("both.pem"),
			DialTimeout: 10 * time.Second,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				<-ctx.Done()
				return nil, context.Cause(ctx)
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		r.client = &http.Client{Transport: cache}
		start := time.Now()
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() {
				_, err := r.call(t.Context())
				if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took > 20*time.Second {
					t.Errorf("call ended after %v in %v, want the dial's deadline within two of them", took, err)
				}
			})
		}
		// One whose caller gives up while it waits for the first connection.
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errImpatient)
		defer cancel()
		synctest.Wait()
		if _, err := r.call(ctx); !errors.Is(err, errImpatient) && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("impatient call ended in %v", err)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("impatient call ended after %v, want 1s", took)
		}
		wg.Wait()
	})
}

var errImpatient = errors.New("impatient")

// A pipeListener accepts what Dial hands it: timed tests cannot use loopback,
// which keeps the clock of a bubble from advancing.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	close sync.Once
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

// TestIdleConnectionsClose lets an hour pass.
func TestIdleConnectionsClose(t *testing.T) {
	t.Parallel()
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("HTTP2=%t", http2), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ca := newAuthority(t)
				g := &gateway{url: "https://127.0.0.1"}
				srv := &http.Server{Handler: g, TLSConfig: ca.serverTLS(t)}
				if !http2 {
					srv.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
				}
				g.count(srv)
				pipe := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
				go srv.ServeTLS(pipe, "", "")
				defer srv.Close()

				r := &rig{dir: t.TempDir(), ca: ca, first: ca.client(t), gateway: g}
				r.write(t, r.path("both.pem"), append(r.first.certPEM, r.first.keyPEM...))
				r.write(t, r.path("ca.pem"), ca.certPEM)
				cache, err := mtlscache.New(mtlscache.Config{
					CertFile: r.path("both.pem"), KeyFile: r.path("both.pem"), ServerCAFile: r.path("ca.pem"),
					DialContext: pipe.dial,
				})
				if err != nil {
					t.Fatal(err)
				}
				r.client = &http.Client{Transport: cache}

				r.mustCall(t, r.first)
				time.Sleep(89 * time.Second)
				if got := g.open.Load(); got != 1 {
					t.Errorf("%d connections open after 89s, want 1", got)
				}
				time.Sleep(2 * time.Second)
				if got := g.open.Load(); got != 0 {
					t.Errorf("%d connections open after 91s, want 0", got)
				}
				time.Sleep(time.Hour)
				r.mustCall(t, r.first)

				// An old pair's connection closes although nobody calls any more.
				next := ca.client(t)
				r.replace(t, r.path("both.pem"), append(next.certPEM, next.keyPEM...), time.Time{})
				if err := cache.Check(); err != nil {
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

// TestUnreadBody rotates while a body is only half read: the call may finish
// it, and its connection closes then.
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
