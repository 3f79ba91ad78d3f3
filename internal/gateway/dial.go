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

// alertWait is how long a failed write waits for the connection's reader: far longer than it
// takes to read the received bytes.
const alertWait = time.Second

// HearAlerts wraps dial for the transport of a Client, so that a TLS alert of the server is
// not lost. A nil dial stands for a net.Dialer.
//
// A server that refuses the client's certificate in TLS 1.3 sends an alert and closes the
// connection. If a write fails on the closed connection before the alert was read, net/http
// closes its side without reading it. Then nothing shows that the calls on this connection
// were not accepted. So a failed write waits until reading has ended too.
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

// hearingConn delays the error of a write until the connection was read to its end or
// closed. The reader closes it when it reads an alert. The connection counts written bytes.
type hearingConn struct {
	net.Conn
	end     sync.Once
	over    chan struct{}
	written atomic.Int64 // bytes
	// answered: the first byte of an answer has come. Until then the gateway may still be
	// checking the client's certificate. With TLS 1.3 it does that after the client may have
	// sent its requests, but before it reads any of them.
	answered atomic.Bool
}

// hearing returns the hearingConn below conn; nil if there is none.
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
	c.written.Add(int64(len(p))) // before the write, so that the count is never too low
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
