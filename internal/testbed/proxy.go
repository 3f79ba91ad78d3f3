package testbed

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// Link is a TCP proxy that stands for a network. A test can cut, stall, slow down or
// close it while it carries connections. Only a cut loses bytes: bytes that a stall holds
// back arrive when it ends, as after a partition. It is safe for concurrent use.
type Link struct {
	listener net.Listener
	upstream string
	running  sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	stall  chan struct{} // closed when bytes may flow
	refuse bool
	delay  time.Duration
	jitter time.Duration
	closed bool
}

// NewLink listens on a free loopback port and forwards to upstream, a host and port.
func NewLink(upstream string) (*Link, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("opening a link to %s: %w", upstream, err)
	}
	l := &Link{listener: listener, upstream: upstream, conns: map[net.Conn]struct{}{}, stall: make(chan struct{})}
	close(l.stall)
	l.running.Go(l.accept)
	return l, nil
}

// Addr returns the host and port that the link listens on.
func (l *Link) Addr() string { return l.listener.Addr().String() }

// Cut resets every open connection. Bytes in transit are lost.
func (l *Link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		reset(c)
	}
}

// Stall holds all bytes back, in both directions, until it is called with false.
// Connections are still accepted, and hang.
func (l *Link) Stall(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.stall:
		if on {
			l.stall = make(chan struct{})
		}
	default:
		if !on {
			close(l.stall)
		}
	}
}

// Refuse resets new connections until it is called with false. Open connections stay.
func (l *Link) Refuse(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refuse = on
}

// Delay delays every chunk of bytes by d, in each direction.
func (l *Link) Delay(d time.Duration) { l.Jitter(d, 0) }

// Jitter delays every chunk of bytes by d and a random time up to jitter, in each
// direction. Bytes stay in order.
func (l *Link) Jitter(d, jitter time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delay, l.jitter = d, jitter
}

// Heal ends every disturbance.
func (l *Link) Heal() {
	l.Stall(false)
	l.Refuse(false)
	l.Delay(0)
}

// Close ends the link and its connections.
func (l *Link) Close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.listener.Close()
	l.Heal()
	l.Cut()
	l.running.Wait()
}

func (l *Link) accept() {
	for {
		client, err := l.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // probably out of file descriptors: try the next one
		}
		l.running.Go(func() { l.join(client) })
	}
}

// join connects the client with the upstream until either end closes.
func (l *Link) join(client net.Conn) {
	if !l.keep(client) {
		reset(client)
		return
	}
	defer l.drop(client)
	server, err := net.Dial("tcp", l.upstream)
	if err != nil {
		reset(client)
		return
	}
	if !l.keep(server) {
		reset(client)
		reset(server)
		return
	}
	defer l.drop(server)
	var pumps sync.WaitGroup
	pumps.Go(func() { l.pump(client, server) })
	pumps.Go(func() { l.pump(server, client) })
	pumps.Wait()
}

// keep registers a connection, unless the link refuses connections.
func (l *Link) keep(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.refuse {
		return false
	}
	l.conns[c] = struct{}{}
	return true
}

func (l *Link) drop(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	c.Close()
}

// pump carries bytes in one direction. When its source ends, the other direction ends
// too: no protocol here uses half-closed connections.
func (l *Link) pump(from, to net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			l.hold()
			if _, werr := to.Write(buf[:n]); werr != nil {
				err = werr
			}
		}
		if err != nil {
			l.hold() // a stall delays the end of a connection too
			reset(from)
			to.Close()
			return
		}
	}
}

// hold waits for the end of a stall and for the delay.
func (l *Link) hold() {
	for {
		l.mu.Lock()
		stall, delay, jitter := l.stall, l.delay, l.jitter
		l.mu.Unlock()
		if jitter > 0 {
			delay += rand.N(jitter)
		}
		if delay > 0 {
			time.Sleep(delay)
		}
		select {
		case <-stall:
			return
		default:
			<-stall
		}
	}
}

// reset closes a connection so that the other end notices at once.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // fails only on a closed connection
	}
	c.Close()
}
