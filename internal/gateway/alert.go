package gateway

import (
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
)

// conns are the connections on which calls are under way.
type conns struct {
	mu     sync.Mutex
	byConn map[net.Conn]*conn // guarded by mu
}

// conn is what the calls that share a connection learn about it together. With HTTP/2
// that may be all of them, and only one is told that the connection is new.
type conn struct {
	net.Conn
	// All guarded by conns.mu.
	calls    int
	fresh    bool // it was opened for one of these calls
	answered bool // some of an answer came over it
}

// join counts a call in.
func (c *conns) join(nc net.Conn, reused bool) *conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byConn == nil {
		c.byConn = map[net.Conn]*conn{}
	}
	shared := c.byConn[nc]
	if shared == nil {
		shared = &conn{Conn: nc}
		c.byConn[nc] = shared
	}
	shared.calls++
	shared.fresh = shared.fresh || !reused
	return shared
}

// leave counts a call out. With the last one it is forgotten that the connection was
// fresh: the calls that come later count it among the old.
func (c *conns) leave(shared *conn) {
	if shared == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if shared.calls--; shared.calls == 0 {
		delete(c.byConn, shared.Conn)
	}
}

// answer notes that an answer has begun to come.
func (c *conns) answer(shared *conn) {
	if shared == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	shared.answered = true
}

// unproved reports whether the gateway may still be judging the client's certificate
// on this connection. With TLS 1.3 it does that after the client may have sent its
// requests, but before it reads any of them; the first answer proves that it is done.
func (c *conns) unproved(shared *conn) bool {
	if shared == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return shared.fresh && !shared.answered
}

// clientAlerts are the TLS alerts about what the client sent in the handshake (RFC
// 8446, 6.2; "handshake failure" is how TLS 1.2 misses a certificate), as crypto/tls
// words them: it exports no type for an alert that was received.
var clientAlerts = []string{
	"bad certificate", "unsupported certificate", "revoked certificate", "expired certificate",
	"unknown certificate", "unknown certificate authority", "access denied", "certificate required",
	"handshake failure", "error decrypting message",
}

func refusedClient(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Op != "remote error" || op.Err == nil {
		return false
	}
	return slices.Contains(clientAlerts, strings.TrimPrefix(op.Err.Error(), "tls: "))
}
