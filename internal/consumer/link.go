package consumer

import (
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// skew is by how much the server's time as the worker measured it may be wrong before
// link.since is wrong about a wake-up.
const skew = 5 * time.Second

// link knows when the connection to NATS was made, or made again. A consumer without
// replicas writes down only later what it delivered: when its server was killed, it
// delivers again what had come before, and as for the first time. One with replicas
// has them take note first.
type link struct {
	nc *nats.Conn

	mu    sync.Mutex
	count uint64 // of reconnections seen
	made  time.Time
}

func newLink(nc *nats.Conn) *link {
	return &link{nc: nc, count: nc.Stats().Reconnects, made: time.Now()}
}

// since reports whether the connection has stood since before an instant of the server's
// clock, which shows now: what fell due at that instant cannot have been delivered over an
// earlier one.
func (l *link) since(t, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	// Asked for, and not told by a handler: what comes over a new connection must not
	// be judged before the handler runs.
	if n := l.nc.Stats().Reconnects; n != l.count {
		l.count, l.made = n, time.Now()
	}
	return t.After(now.Add(skew - time.Since(l.made)))
}
