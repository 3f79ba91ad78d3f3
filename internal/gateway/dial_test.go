package gateway

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// brokenConn fails every write. Its reader gets what comes from the channel.
type brokenConn struct {
	net.Conn
	comes chan error
}

func (c brokenConn) Read([]byte) (int, error)  { return 0, <-c.comes }
func (c brokenConn) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }
func (c brokenConn) Close() error              { return nil }

func TestFailedWriteWaitsForTheReader(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		ends func(net.Conn, brokenConn) // a second after the write
		want time.Duration
	}{
		{"read to its end", func(c net.Conn, b brokenConn) { b.comes <- errors.New("connection reset") }, alertWait / 2},
		{"closed by its reader", func(c net.Conn, _ brokenConn) { c.Close() }, alertWait / 2},
		{"not read", func(net.Conn, brokenConn) {}, alertWait},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := brokenConn{comes: make(chan error)}
			dial := HearAlerts(func(context.Context, string, string) (net.Conn, error) { return b, nil })
			conn, err := dial(t.Context(), "tcp", "gateway:443")
			if err != nil {
				t.Fatal(err)
			}
			go func() { _, _ = conn.Read(nil) }()
			go func() {
				time.Sleep(alertWait / 2)
				tt.ends(conn, b)
			}()
			begun := time.Now()
			if _, err := conn.Write([]byte("x")); err == nil {
				t.Errorf("%s: the write succeeded", tt.name)
			}
			if took := time.Since(begun); took != tt.want {
				t.Errorf("%s: the write took %s, want %s", tt.name, took, tt.want)
			}
			conn.Close()
			select {
			case b.comes <- net.ErrClosed: // ends the reader
			default:
			}
		})
	}
	refused := errors.New("connection refused")
	_, err := HearAlerts(func(context.Context, string, string) (net.Conn, error) { return nil, refused })(t.Context(), "tcp", "gateway:443")
	if !errors.Is(err, refused) {
		t.Errorf("dialing: %v", err)
	}
}
