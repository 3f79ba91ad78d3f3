package mtlscache

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A Cache is an [http.RoundTripper] that uses the client key pair of its files,
// as they are on disk at each call. Create it with [New] and share it: it is safe
// for concurrent use. Most callers use it as the Transport of an [http.Client].
// The zero value cannot be used.
type Cache struct {
	cfg   Config
	files *files

	state   atomic.Pointer[state]
	reloads atomic.Uint64

	mu   sync.Mutex // serialises reloads
	half *half      // an incomplete rotation; nil: none. Guarded by mu.
}

// New reads the credentials and returns a Cache that follows their changes. It
// returns a [*KeyPairError] if it cannot use them, without waiting for a rotation
// to end. It returns another error, which names every mistake, for an invalid
// Config. It opens no connection.
func New(cfg Config) (*Cache, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("checking the configuration of client credentials: %w", err)
	}
	files, err := newFiles(cfg)
	if err != nil {
		return nil, err
	}
	c := &Cache{cfg: cfg.withDefaults(), files: files}
	now := time.Now()
	m, marks, err := files.read()
	if err != nil {
		return nil, err
	}
	c.state.Store(newState(newGeneration(c.cfg, m), &marks, now))
	return c, nil
}

// RoundTrip checks the files, then sends one request over the shared transport.
// The error is a [*KeyPairError] if the credentials cannot be used, else the
// transport's.
func (c *Cache) RoundTrip(req *http.Request) (*http.Response, error) {
	g, err := c.acquire()
	if err != nil {
		closeBody(req)
		return nil, err
	}
	defer g.calls.Add(-1)
	return g.roundTrip(req)
}

// Check does only what every call does first: it checks whether the files
// changed, reloads them if they did, and returns the error that a call would
// return. Without a change it costs one system call for each file, and allocates
// nothing on 64-bit Linux.
func (c *Cache) Check() error {
	_, err := c.current()
	return err
}

// Look reads the files now, even if they seem unchanged, as on SIGHUP. It returns
// a [*KeyPairError] if it cannot use them, even while calls still use the previous
// pair.
func (c *Cache) Look() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reload(time.Now())
}

// NotAfter returns when the client certificate in use expires. The cache still
// uses an expired certificate.
func (c *Cache) NotAfter() time.Time { return c.state.Load().notAfter() }

// Warnings returns one text for each part of the files that is not in use, such
// as a server CA that Go refuses. Each names its file, what is wrong and what to
// do; none quotes content. Callers log them after New; a reload logs its own.
func (c *Cache) Warnings() []string { return slices.Clone(c.state.Load().warnings) }

// Reloads returns how often the cache changed to another pair, or another server
// CA, since New.
func (c *Cache) Reloads() uint64 { return c.reloads.Load() }

// CloseIdleConnections closes connections without a call, as at the end of the
// program. [http.Client.CloseIdleConnections] calls it.
func (c *Cache) CloseIdleConnections() { c.state.Load().transport.CloseIdleConnections() }

// Close closes idle connections. Calls made later still work.
func (c *Cache) Close() { c.CloseIdleConnections() }

// acquire returns the generation for one call and counts the call in it. The
// caller decrements calls when the call ends.
func (c *Cache) acquire() (*generation, error) {
	for {
		s, err := c.current()
		if err != nil {
			return nil, err
		}
		s.calls.Add(1)
		// A replaced generation retires, and checks its calls then. It sees a call
		// that was counted while it was in use. A call that is counted later must
		// not start: its connection would outlive the sweep.
		if c.state.Load().generation == s.generation {
			return s.generation, nil
		}
		s.calls.Add(-1)
	}
}
