package gateway_test

import (
	"context"
	"crypto/tls"
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

// mutual is a client as the worker has it: over a cache of the key pair on disk.
type mutual struct {
	*gateway.Client
	cache     *mtlscache.Cache
	cert, key string // paths
}

// mutual returns a client with the pair, which dials with the given function, or else
// as the simulator's own client does.
func (s *simulator) mutual(t *testing.T, certPEM, keyPEM []byte, dial gateway.DialFunc) *mutual {
	t.Helper()
	dir := t.TempDir()
	m := &mutual{cert: filepath.Join(dir, "client.crt"), key: filepath.Join(dir, "client.key")}
	writeFile(t, m.cert, certPEM)
	writeFile(t, m.key, keyPEM)
	if dial == nil {
		dial = s.gw.DialContext
	}
	var err error
	m.cache, err = mtlscache.New(mtlscache.Config{
		CertFile: m.cert, KeyFile: m.key, ServerCAFile: s.gw.ServerCA(), MaxConnsPerHost: callers,
		DialContext: gateway.HearAlerts(dial), HalfRotationWait: -1,
	})
	if err != nil {
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

// heldConn keeps what comes after the handshake from its reader until it is released,
// or cannot be written to any more.
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
// none may be taken for one of unknown fate.
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
			c := sim.mutual(t, certPEM, keyPEM, func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := sim.gw.DialContext(ctx, network, addr)
				return heldConn{conn, &shaken, released, release}, err
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
