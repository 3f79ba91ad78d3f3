package gateway_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/mtlscache"
)

// mutual is a client like the worker's, over a mtlscache.Cache of the key pair on disk.
type mutual struct {
	*gateway.Client
	cache     *mtlscache.Cache
	cert, key string // paths
}

// mutual returns a client with the pair. change may edit the configuration of the transport.
func (s *simulator) mutual(t *testing.T, certPEM, keyPEM []byte, change func(*mtlscache.Config)) *mutual {
	t.Helper()
	dir := t.TempDir()
	m := &mutual{cert: filepath.Join(dir, "client.crt"), key: filepath.Join(dir, "client.key")}
	writeFile(t, m.cert, certPEM)
	writeFile(t, m.key, keyPEM)
	cfg := mtlscache.Config{
		CertFile: m.cert, KeyFile: m.key, ServerCAFile: s.gw.ServerCA(), MaxConnsPerHost: callers, DialContext: s.gw.DialContext,
		// The tests count connections: a slow machine must not cause another one.
		IdleConnTimeout: time.Hour, DialTimeout: time.Minute, TLSTimeout: time.Minute,
	}
	if change != nil {
		change(&cfg)
	}
	cfg.DialContext = gateway.HearAlerts(cfg.DialContext)
	var err error
	if m.cache, err = mtlscache.New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.cache.CloseIdleConnections)
	m.Client, err = gateway.New(gateway.Config{
		URL: s.gw.URL(), CAID: s.gw.CAID(), ProfileID: s.gw.Profile(), Dialect: s.dialect,
	}, &http.Client{Transport: m.cache}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// callers is how many calls are in flight in these tests.
const callers = 64

func writeFile(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// heldConn withholds all bytes after the handshake from its reader until it is released or a
// write fails.
type heldConn struct {
	net.Conn
	shaken   *atomic.Bool
	released <-chan struct{}
	release  func()
}

func (c heldConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.shaken.Load() {
		<-c.released
	}
	return n, err
}

func (c heldConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err != nil {
		c.release()
	}
	return n, err
}

// TestRefusedPairUnderManyCalls writes many enrollments to one HTTP/2 connection before
// the server's alert about the client's certificate is read. None was accepted, and
// none may count as Unknown.
func TestRefusedPairUnderManyCalls(t *testing.T) {
	t.Parallel()
	for _, dialect := range []gatewaytest.Dialect{gatewaytest.CertCtl, gatewaytest.CAGW} {
		t.Run(string(dialect), func(t *testing.T) {
			t.Parallel()
			sim := startSimulator(t, gatewaytest.Config{Dialect: dialect})
			certPEM, keyPEM, err := sim.gw.IssueClient(-time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			var shaken atomic.Bool
			var written atomic.Int64
			released := make(chan struct{})
			release := sync.OnceFunc(func() { close(released) })
			c := sim.mutual(t, certPEM, keyPEM, func(cfg *mtlscache.Config) {
				cfg.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
					conn, err := sim.gw.DialContext(ctx, network, addr)
					return heldConn{conn, &shaken, released, release}, err
				}
			})
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
				TLSHandshakeDone: func(tls.ConnectionState, error) { shaken.Store(true) },
				WroteRequest: func(httptrace.WroteRequestInfo) {
					if written.Add(1) == callers {
						release()
					}
				},
			})
			fates := make(chan error, callers)
			for range callers {
				csr := sim.newCSR(t, "issue")
				go func() {
					_, err := c.Enroll(ctx, gateway.Enrollment{CSR: csr})
					fates <- err
				}()
			}
			told := 0
			for range callers {
				err := <-fates
				switch gateway.FateOf(err) {
				case gateway.Unauthorized:
					told++
				case gateway.NotAccepted:
				default:
					t.Errorf("got %v, want unauthorized, or not accepted", err)
				}
			}
			if told < callers/2 {
				t.Errorf("%d of %d calls say that the client is not accepted", told, callers)
			}
			if n := sim.gw.Stats().Enrolled; n != 0 {
				t.Errorf("%d orders were accepted", n)
			}
		})
	}
}

// ways are the dialects over both protocols, each with the largest number of connections that a
// client with that many callers opens.
var ways = []struct {
	dialect gatewaytest.Dialect
	http1   bool
	most    int
}{
	{gatewaytest.CertCtl, true, callers}, {gatewaytest.CAGW, true, callers},
	{gatewaytest.CertCtl, false, 4}, {gatewaytest.CAGW, false, 4},
}

// TestThousandEnrollments enrolls from a cold start with all callers at once.
func TestThousandEnrollments(t *testing.T) {
	t.Parallel()
	const enrollments = 1000
	for _, way := range ways {
		t.Run(fmt.Sprintf("%s/http1=%v", way.dialect, way.http1), func(t *testing.T) {
			t.Parallel()
			sim := startSimulator(t, gatewaytest.Config{Dialect: way.dialect, HTTP1Only: way.http1, Latency: time.Millisecond})
			certPEM, keyPEM, err := sim.gw.IssueClient(time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			c := sim.mutual(t, certPEM, keyPEM, nil)
			csrs := make(chan *x509.CertificateRequest, enrollments)
			for range enrollments {
				csrs <- sim.newCSR(t, "issue")
			}
			close(csrs)
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					for csr := range csrs {
						a, err := c.Enroll(t.Context(), gateway.Enrollment{CSR: csr})
						if err != nil {
							t.Error(err)
							continue
						}
						if _, err := gateway.CheckIssued(a, gateway.Expectation{PublicKey: csr.PublicKey}); err != nil || len(a.Chain) == 0 {
							t.Errorf("%d chain certificates, %v", len(a.Chain), err)
						}
					}
				})
			}
			wg.Wait()
			if opened, _ := sim.gw.Connections(); opened > way.most {
				t.Errorf("%d connections for %d calls at a time, want at most %d", opened, callers, way.most)
			}
			if got := sim.gw.Stats(); got.Issued != enrollments || got.Duplicates != 0 {
				t.Errorf("%d issued, %d of them twice; want %d, none", got.Issued, got.Duplicates, enrollments)
			}
		})
	}
}

// TestRotationUnderEnrollments replaces the pair on disk, in the ways of different tools, while
// all callers enroll. No call fails, each rotation is one reload, and no connection with an old
// pair stays. The cache's own tests do a hundred rotations.
func TestRotationUnderEnrollments(t *testing.T) {
	t.Parallel()
	rotations := 10
	if testing.Short() {
		rotations = 5
	}
	old := time.Date(2001, 9, 9, 1, 46, 40, 0, time.UTC)
	rename := func(t *testing.T, path string, data []byte, stamp time.Time) {
		t.Helper()
		writeFile(t, path+".new", data)
		if err := os.Chtimes(path+".new", stamp, stamp); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	for _, way := range ways {
		t.Run(fmt.Sprintf("%s/http1=%v", way.dialect, way.http1), func(t *testing.T) {
			t.Parallel()
			sim := startSimulator(t, gatewaytest.Config{Dialect: way.dialect, HTTP1Only: way.http1, SkipProof: true})
			certPEM, keyPEM, err := sim.gw.IssueClient(time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			c := sim.mutual(t, certPEM, keyPEM, func(cfg *mtlscache.Config) {
				cfg.HalfRotationWait = time.Minute // the machine may be slow; no call may fail because of that
			})
			csr := sim.newCSR(t, "issue")
			var done atomic.Int64
			progress := make(chan struct{}, 1)
			stop := make(chan struct{})
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						if a, err := c.Enroll(t.Context(), gateway.Enrollment{CSR: csr}); err != nil || a.State != gateway.Issued {
							t.Errorf("%v, %v", a.State, err)
						}
						done.Add(1)
						select {
						case progress <- struct{}{}:
						default:
						}
					}
				})
			}
			// seen waits until a call has read the files.
			seen := func() {
				for from := done.Load(); done.Load() < from+callers; {
					<-progress
				}
			}
			seen()
			for i := range rotations {
				certPEM, keyPEM, err := sim.gw.IssueClient(time.Hour)
				if err != nil {
					t.Fatal(err)
				}
				switch i % 5 {
				case 0: // at once
					rename(t, c.cert, certPEM, time.Now())
					rename(t, c.key, keyPEM, time.Now())
				case 1: // certificate long before key
					rename(t, c.cert, certPEM, time.Now())
					seen()
					rename(t, c.key, keyPEM, time.Now())
				case 2: // key long before certificate
					rename(t, c.key, keyPEM, time.Now())
					seen()
					rename(t, c.cert, certPEM, time.Now())
				case 3: // written in place, and slowly
					writeFile(t, c.cert, certPEM[:len(certPEM)/2])
					seen()
					writeFile(t, c.cert, certPEM)
					writeFile(t, c.key, keyPEM)
				case 4: // older modification time
					rename(t, c.cert, certPEM, old)
					rename(t, c.key, keyPEM, old)
				}
				seen()
				// A caller that saw half of the rotation waits for the other half.
				for end := time.Now().Add(10 * time.Second); c.cache.Reloads() <= uint64(i) && time.Now().Before(end); {
					seen()
				}
				if got := c.cache.Reloads(); got != uint64(i+1) {
					t.Errorf("%d reloads after %d rotations", got, i+1)
					break
				}
			}
			close(stop)
			wg.Wait()
			c.cache.CloseIdleConnections() // with the pair in use
			for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
				_, open := sim.gw.Connections()
				if open == 0 {
					break
				}
				if time.Now().After(end) {
					t.Fatalf("%d connections are still open", open)
				}
			}
			t.Logf("%d enrollments", done.Load())
		})
	}
}
