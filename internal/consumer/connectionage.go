package consumer

import (
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// skew is the largest error of the measured server time with which connectionAge.since is still
// right.
const skew = 5 * time.Second

// connectionAge knows when the connection to NATS was last made. A consumer without replicas
// stores later which messages it delivered. When its server was killed, it delivers them again,
// each as if for the first time. A consumer with replicas stores that on them first.
type connectionAge struct {
	nc *nats.Conn

	mu    sync.Mutex
	count uint64 // of reconnections seen
	made  time.Time
}

func newConnectionAge(nc *nats.Conn) *connectionAge {
	return &connectionAge{nc: nc, count: nc.Stats().Reconnects, made: time.Now()}
}

// since reports whether the connection was made more than skew before the instant t of the
// server's clock, which now reads now. Then no earlier connection can have delivered a message
// that was due at t.
func (c *connectionAge) since(t, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	// Read the count here, not in a handler: a message on a new connection may arrive before
	// the handler runs.
	if n := c.nc.Stats().Reconnects; n != c.count {
		c.count, c.made = n, time.Now()
	}
	return t.After(now.Add(skew - time.Since(c.made)))
}
