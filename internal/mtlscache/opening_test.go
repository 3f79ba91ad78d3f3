package mtlscache_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestUnreachable has calls to a gateway that cannot be dialed. One call dials; the
// others fail with its error.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var dials atomic.Int64
		r := newPiped(t, &gateway{}, func(ctx context.Context, _, _ string) (net.Conn, error) {
			dials.Add(1)
			<-ctx.Done()
			return nil, context.Cause(ctx)
		})
		start := time.Now()
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() {
				_, err := r.call(t.Context())
				if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took != 10*time.Second {
					t.Errorf("call ended after %v in %v, want the dial's deadline", took, err)
				}
			})
		}
		// This call is cancelled while it waits for the first connection.
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
		if got := dials.Load(); got != 1 {
			t.Errorf("%d dials, want 1", got)
		}
	})
}

var errImpatient = errors.New("impatient")

// TestRefusedCertificate has 64 calls to a gateway that refuses the client's
// certificate. With TLS 1.3 the client learns that only after the handshake. One call
// is written to a connection, and all fail with its error.
func TestRefusedCertificate(t *testing.T) {
	t.Parallel()
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("HTTP2=%t", http2), func(t *testing.T) {
			t.Parallel()
			stranger := newAuthority(t)
			g := newGateway(t, stranger, http2, nil) // outside the bubble: the test needs no fake time for it
			synctest.Test(t, func(t *testing.T) {
				start := make(chan struct{})
				r := newPiped(t, &gateway{}, func(ctx context.Context, network, addr string) (net.Conn, error) {
					<-start
					return new(net.Dialer).DialContext(ctx, network, addr)
				})
				r.gateway = g
				r.write(t, r.path("ca.pem"), stranger.certPEM)

				var (
					wg   sync.WaitGroup
					sent atomic.Int64
					errs [64]error
				)
				ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
					GotConn: func(httptrace.GotConnInfo) { sent.Add(1) },
				})
				for i := range errs {
					wg.Go(func() {
						_, err := r.call(ctx)
						errs[i] = errors.Unwrap(err)
					})
				}
				synctest.Wait() // one call dials, the others wait for it
				close(start)
				wg.Wait()
				for _, err := range errs {
					if err == nil || err != errs[0] {
						t.Errorf("call ended in %v, want the one error %v", err, errs[0])
					}
				}
				if got := sent.Load(); got != 1 {
					t.Errorf("%d calls were sent, want 1", got)
				}
			})
			if got := g.made.Load(); got != 1 {
				t.Errorf("%d connections made, want 1", got)
			}
		})
	}
}

// TestSlowFirstAnswer checks that calls wait for the first answer on a connection, but
// no longer than settleWait.
func TestSlowFirstAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pipe, hold := newPipe(), newHold()
		g := &gateway{inner: hold}
		r := newPiped(t, g, pipe.dial)
		g.serve(t, pipe, r.ca.serverTLS(t), true)

		var wg sync.WaitGroup
		start := time.Now()
		wg.Go(func() {
			if _, err := r.get(t.Context(), "/hold"); err != nil {
				t.Error(err)
			}
		})
		<-hold.entered
		for range 63 {
			wg.Go(func() {
				if _, err := r.call(t.Context()); err != nil {
					t.Error(err)
				}
				if took := time.Since(start); took != 250*time.Millisecond {
					t.Errorf("call ended after %v, want 250ms", took)
				}
			})
		}
		time.Sleep(time.Minute)
		hold.release <- struct{}{}
		wg.Wait()
		if got := g.made.Load(); got != 1 {
			t.Errorf("%d connections made, want 1", got)
		}
	})
}

// TestFirstCallGivesUp cancels the call that makes the connection. The others do not
// fail with it.
func TestFirstCallGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pipe := newPipe()
		g := &gateway{}
		start := make(chan struct{})
		r := newPiped(t, g, func(ctx context.Context, network, addr string) (net.Conn, error) {
			<-start
			return pipe.dial(ctx, network, addr)
		})
		g.serve(t, pipe, r.ca.serverTLS(t), true)

		var wg sync.WaitGroup
		ctx, cancel := context.WithCancelCause(t.Context())
		wg.Go(func() {
			if _, err := r.call(ctx); !errors.Is(err, errImpatient) && !errors.Is(err, context.Canceled) {
				t.Errorf("the first call ended in %v", err)
			}
		})
		synctest.Wait()
		for range 8 {
			wg.Go(func() {
				if _, err := r.call(t.Context()); err != nil {
					t.Errorf("another call ended in %v", err)
				}
			})
		}
		synctest.Wait()
		cancel(errImpatient)
		synctest.Wait()
		close(start)
		wg.Wait()
	})
}
