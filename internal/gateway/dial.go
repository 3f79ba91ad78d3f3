package gateway

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// DialFunc makes a connection, as [net.Dialer.DialContext] does.
type DialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// alertWait is how long a write that failed waits for the connection's reader: far
// longer than it takes to read what has come.
const alertWait = time.Second

// HearAlerts returns a dialer for the transport below a Client: dial's, or a plain one
// for nil, with connections that say why they broke. A server that refuses the client's
// certificate in TLS 1.3 sends an alert and closes the connection. If a write meets the
// closed connection before the alert is read, net/http closes its side unread, and of
// all calls on the connection nobody can tell any more that they were not accepted. So
// a write that fails waits until reading has ended too.
func HearAlerts(dial DialFunc) DialFunc {
	if dial == nil {
		dial = (&net.Dialer{KeepAlive: 30 * time.Second}).DialContext
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &hearingConn{Conn: conn, over: make(chan struct{})}, nil
	}
}

// hearingConn holds a failed write back until the connection was read to its end or
// closed, as its reader does who met an alert. It counts what was written.
type hearingConn struct {
	net.Conn
	end     sync.Once
	over    chan struct{}
	written atomic.Int64 // bytes
	// answered says that an answer began to come. Until then the gateway may still be
	// judging the client's certificate: with TLS 1.3 it does that after the client may have
	// sent its requests, but before it reads any of them.
	answered atomic.Bool
}

// hearing returns the connection of HearAlerts below conn; nil if there is none.
func hearing(conn net.Conn) *hearingConn {
	for {
		switch c := conn.(type) {
		case *hearingConn:
			return c
		case interface{ NetConn() net.Conn }:
			conn = c.NetConn()
		default:
			return nil
		}
	}
}

func (c *hearingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		c.end.Do(func() { close(c.over) })
	}
	return n, err
}

func (c *hearingConn) Write(p []byte) (int, error) {
	c.written.Add(int64(len(p))) // before: never less than what was written
	n, err := c.Conn.Write(p)
	c.written.Add(int64(n - len(p)))
	if err != nil {
		t := time.NewTimer(alertWait)
		defer t.Stop()
		select {
		case <-c.over:
		case <-t.C:
		}
	}
	return n, err
}

func (c *hearingConn) Close() error {
	c.end.Do(func() { close(c.over) })
	return c.Conn.Close()
}
