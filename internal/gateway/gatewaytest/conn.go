package gatewaytest

import (
	"crypto/tls"
	"net"
	"net/http"
	"sync/atomic"
)

// tally counts connections and requests.
type tally struct {
	opened, open, tlsResets                  atomic.Int64
	enroll, poll, revoke, ca, events, cert   atomic.Int64
	throttled, refused, forbidden, redirects atomic.Int64
}

// count returns the counter of requests of op.
func (t *tally) count(op Op) *atomic.Int64 {
	switch op {
	case OpEnroll:
		return &t.enroll
	case OpPoll:
		return &t.poll
	case OpRevoke:
		return &t.revoke
	case OpEvents:
		return &t.events
	case OpCert:
		return &t.cert
	default:
		return &t.ca
	}
}

// connKey is the context key of a request's connection.
type connKey struct{}

// gate is a listener that refuses connections while the server is down.
type gate struct {
	net.Listener
	s *Server
}

func (g gate) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil || !g.s.down.Load() {
			return c, err
		}
		reset(c)
	}
}

// connState counts connections and keeps them, so that the server can cut them.
func (s *Server) connState(c net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.tally.opened.Add(1)
		s.tally.open.Add(1)
		s.connsMu.Lock()
		s.conns[c] = struct{}{}
		s.connsMu.Unlock()
		if s.down.Load() {
			reset(c)
		}
	case http.StateClosed, http.StateHijacked:
		s.connsMu.Lock()
		_, known := s.conns[c]
		delete(s.conns, c)
		s.connsMu.Unlock()
		if known {
			s.tally.open.Add(-1)
		}
	}
}

// hello runs after a client's hello, before the server answers it.
func (s *Server) hello(info *tls.ClientHelloInfo) (*tls.Config, error) {
	if v := s.rules.judge(OpConnect, "", nil); v.end != nil {
		s.tally.tlsResets.Add(1)
		reset(info.Conn)
		return nil, net.ErrClosed
	}
	return nil, nil
}

// reset closes a connection with a TCP reset.
func reset(c net.Conn) {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if t, ok := c.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
	c.Close()
}
