package consumer

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/gateway"
)

// The values of Config.IssueCRL.
const (
	// CRLEach asks the gateway for a revocation list with every revocation.
	CRLEach = "each"
	// CRLBulk asks for one list after a bulk of revocations.
	CRLBulk = "bulk"
	// CRLRequest asks for a list only when a request does.
	CRLRequest = "request"
)

const (
	// crlQuiet ends a bulk: the time without a revocation of its CA.
	crlQuiet = 5 * time.Second
	// crlLatest is the longest time from the first revocation of a bulk to its list.
	crlLatest = time.Minute
)

// crls asks for one revocation list after a bulk of revocations. It repeats the last
// revocation, which changes nothing else. A list that is pending when the worker is killed
// comes with the CA's own schedule. It is safe for concurrent use.
type crls struct {
	ask func(context.Context, gateway.Revocation) error
	log *slog.Logger

	mu      sync.Mutex
	pending map[string]*pendingCRL // by CA
}

type pendingCRL struct {
	last  gateway.Revocation
	since time.Time
	timer *time.Timer
}

// add notes a revocation that was done without a list.
func (c *crls) add(r gateway.Revocation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.pending[r.CAID]
	if o == nil {
		if c.pending == nil {
			c.pending = map[string]*pendingCRL{}
		}
		o = &pendingCRL{since: time.Now(), timer: time.AfterFunc(crlQuiet, func() { c.request(context.Background(), r.CAID) })}
		c.pending[r.CAID] = o
	}
	o.last = r
	o.timer.Reset(max(0, min(crlQuiet, crlLatest-time.Since(o.since))))
}

// request asks for the pending list of a CA.
func (c *crls) request(ctx context.Context, ca string) {
	c.mu.Lock()
	o := c.pending[ca]
	delete(c.pending, ca)
	c.mu.Unlock()
	if o == nil {
		return
	}
	o.timer.Stop()
	o.last.IssueCRL = true
	if err := c.ask(ctx, o.last); err != nil {
		c.log.WarnContext(ctx, "asking for a revocation list after a bulk of revocations; the CA issues one by its own schedule", "ca", ca, "err", err)
	}
}

// requestAll asks for all pending lists, before a stop.
func (c *crls) requestAll(ctx context.Context) {
	c.mu.Lock()
	var cas []string
	for ca := range c.pending {
		cas = append(cas, ca)
	}
	c.mu.Unlock()
	for _, ca := range cas {
		c.request(ctx, ca)
	}
}
