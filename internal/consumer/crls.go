package consumer

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/gateway"
)

// The words of Config.IssueCRL.
const (
	// CRLEach asks for a revocation list with every revocation.
	CRLEach = "each"
	// CRLBulk asks for one after a bulk: a while after its last revocation.
	CRLBulk = "bulk"
	// CRLRequest asks where a request does.
	CRLRequest = "request"
)

const (
	// crlQuiet is how long no revocation of a CA ends a bulk.
	crlQuiet = 5 * time.Second
	// crlLatest is how long after its first revocation a bulk is given a list that goes on.
	crlLatest = time.Minute
)

// crls asks for one revocation list after a bulk of revocations, by repeating the last of
// them, which changes nothing else. What is owed when the worker is killed comes with the
// CA's own schedule. Safe for concurrent use.
type crls struct {
	ask func(context.Context, gateway.Revocation) error
	log *slog.Logger

	mu   sync.Mutex
	owed map[string]*crlOwed // by CA
}

type crlOwed struct {
	last  gateway.Revocation
	since time.Time
	timer *time.Timer
}

// owe notes a revocation that was done without a list.
func (c *crls) owe(r gateway.Revocation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.owed[r.CAID]
	if o == nil {
		if c.owed == nil {
			c.owed = map[string]*crlOwed{}
		}
		o = &crlOwed{since: time.Now(), timer: time.AfterFunc(crlQuiet, func() { c.pay(context.Background(), r.CAID) })}
		c.owed[r.CAID] = o
	}
	o.last = r
	o.timer.Reset(max(0, min(crlQuiet, crlLatest-time.Since(o.since))))
}

// pay asks for the list that is owed for a CA.
func (c *crls) pay(ctx context.Context, ca string) {
	c.mu.Lock()
	o := c.owed[ca]
	delete(c.owed, ca)
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

// payAll asks for all lists that are owed, as before a stop.
func (c *crls) payAll(ctx context.Context) {
	c.mu.Lock()
	var cas []string
	for ca := range c.owed {
		cas = append(cas, ca)
	}
	c.mu.Unlock()
	for _, ca := range cas {
		c.pay(ctx, ca)
	}
}
