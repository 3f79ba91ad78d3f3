package mtlscache

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	// An HTTP/2 connection carries every call, so one whose other end vanished
	// without a word would fail them all until the kernel gives up, after a
	// quarter of an hour. It is asked after this long without a byte...
	pingAfter = 15 * time.Second
	// ... and closed after this long without an answer.
	pingTimeout = 15 * time.Second

	// maxHeader bounds the headers of an answer, in bytes.
	maxHeader = 256 << 10

	// A retired generation looks for connections to close at growing intervals.
	firstSweep = 10 * time.Millisecond
	lastSweep  = time.Second
)

// A generation is one transport with one identity: it lives from one reload to
// the next, and after that until its last connection is closed. It is safe for
// concurrent use.
type generation struct {
	*material
	transport *http.Transport
	dialer    func(ctx context.Context, network, addr string) (net.Conn, error)
	dialLimit time.Duration

	calls   atomic.Int64 // in RoundTrip
	conns   atomic.Int64 // dialing or open
	opening atomic.Pointer[opening]
}

// newGeneration builds a transport around m. It opens nothing yet.
func newGeneration(cfg Config, m *material) *generation {
	g := &generation{material: m, dialer: cfg.DialContext, dialLimit: cfg.DialTimeout}
	g.transport = &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		OnProxyConnectResponse: onProxyAnswer,
		DialContext:            g.dial,
		TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS12,
			RootCAs:    m.roots,
			// Not Certificates: with those, a server whose list of accepted CAs
			// lacks ours is shown no certificate at all, and its complaint is
			// about a missing one.
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				return &m.pair, nil
			},
		},
		ForceAttemptHTTP2:      true, // a custom TLS configuration turns it off otherwise
		TLSHandshakeTimeout:    cfg.TLSTimeout,
		ResponseHeaderTimeout:  cfg.ResponseHeaderTimeout,
		IdleConnTimeout:        cfg.IdleConnTimeout,
		MaxIdleConnsPerHost:    cfg.MaxIdleConns, // its default of 2 costs a handshake for most calls
		MaxConnsPerHost:        cfg.MaxConnsPerHost,
		MaxResponseHeaderBytes: maxHeader,
		HTTP2: &http.HTTP2Config{
			SendPingTimeout:  pingAfter,
			PingTimeout:      pingTimeout,
			WriteByteTimeout: pingTimeout,
		},
	}
	if cfg.Renegotiation {
		config := g.transport.TLSClientConfig
		config.Renegotiation = tls.RenegotiateOnceAsClient
		config.MaxVersion = tls.VersionTLS12
		g.transport.ForceAttemptHTTP2 = false
	}
	if cfg.http1 {
		g.transport.Protocols = new(http.Protocols)
		g.transport.Protocols.SetHTTP1(true)
	}
	return g
}

// dial makes one connection and counts it until it is closed.
func (g *generation) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, g.dialLimit)
	defer cancel()
	g.conns.Add(1)
	conn, err := g.dialer(ctx, network, addr)
	if err != nil {
		g.conns.Add(-1)
		return nil, err
	}
	return &countedConn{Conn: conn, open: &g.conns}, nil
}

// A countedConn is taken off its generation's count when first closed.
type countedConn struct {
	net.Conn
	open   *atomic.Int64
	closed atomic.Bool
}

// NetConn returns the connection that DialContext made.
func (c *countedConn) NetConn() net.Conn { return c.Conn }

func (c *countedConn) Close() error {
	if c.closed.CompareAndSwap(false, true) {
		c.open.Add(-1)
	}
	return c.Conn.Close()
}

// retire closes what is idle, now and then again until nothing is left.
//
// Once is not enough: calls in flight bring their connections back later, a
// dial that nobody waits for any more may end after the last call, and an HTTP/2
// connection is idle only when its last body was read, which no RoundTripper is
// told of without wrapping every body. Counting connections sees all three.
func (g *generation) retire() {
	g.sweep(firstSweep)
}

func (g *generation) sweep(wait time.Duration) {
	g.transport.CloseIdleConnections()
	// Calls first: one that ends in between has counted its connection already.
	if g.calls.Load() == 0 && g.conns.Load() == 0 {
		return
	}
	time.AfterFunc(wait, func() { g.sweep(min(2*wait, lastSweep)) })
}
