package gateway

import (
	"context"
	"net"
	"sync"
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
// closed, as its reader does who met an alert.
type hearingConn struct {
	net.Conn
	end  sync.Once
	over chan struct{}
}

func (c *hearingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		c.end.Do(func() { close(c.over) })
	}
	return n, err
}

func (c *hearingConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
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
