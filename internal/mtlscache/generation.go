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
	// pingAfter is how long an HTTP/2 connection may be silent before a ping. One
	// connection carries every call. If the other end vanished without closing it,
	// all calls would fail until the kernel closes it, after a quarter of an hour.
	pingAfter = 15 * time.Second
	// pingTimeout is how long the answer to a ping may take before the connection is
	// closed.
	pingTimeout = 15 * time.Second

	// maxHeader bounds the headers of an answer, in bytes.
	maxHeader = 256 << 10

	// A retired generation closes idle connections at growing intervals.
	firstSweep = 10 * time.Millisecond
	lastSweep  = time.Second
)

// A generation is one transport with one key pair. It is in use from one reload to
// the next, and exists until its last connection is closed. It is safe for
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
			// Not Certificates: if the server's list of accepted CAs lacks the
			// client's, crypto/tls would then send no certificate, and the server
			// would report a missing one.
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				return &m.pair, nil
			},
		},
		ForceAttemptHTTP2:      true, // otherwise a custom TLS configuration turns HTTP/2 off
		TLSHandshakeTimeout:    cfg.TLSTimeout,
		ResponseHeaderTimeout:  cfg.ResponseHeaderTimeout,
		IdleConnTimeout:        cfg.IdleConnTimeout,
		MaxIdleConnsPerHost:    cfg.MaxIdleConns, // the default of 2 costs a handshake for most calls
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

// A countedConn decrements its generation's count when it is first closed.
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

// retire closes idle connections now, and repeats that until none is left.
//
// Once is not enough. Calls in flight return their connections later. A dial whose
// call has ended may finish after the last call. An HTTP/2 connection is idle only
// after its last body was read, and a RoundTripper learns of that only if it wraps
// every body. The count of connections covers all three.
func (g *generation) retire() {
	g.sweep(firstSweep)
}

func (g *generation) sweep(wait time.Duration) {
	g.transport.CloseIdleConnections()
	// Calls first: a call that ends in between has already counted its connection.
	if g.calls.Load() == 0 && g.conns.Load() == 0 {
		return
	}
	time.AfterFunc(wait, func() { g.sweep(min(2*wait, lastSweep)) })
}
