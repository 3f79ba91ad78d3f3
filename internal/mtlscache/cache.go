package mtlscache

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A Cache is an [http.RoundTripper] that shows the client key pair of its
// files, as they are on disk at the time of each call. Make one with [New] and
// share it: it is safe for concurrent use. Most callers want it as the
// Transport of an [http.Client].
type Cache struct {
	cfg   Config
	files *files

	state   atomic.Pointer[state]
	reloads atomic.Uint64

	mu   sync.Mutex // serialises reloads
	half *half      // the rotation that is incomplete; nil: none. Guarded by mu.
}

// New reads the credentials once and returns a Cache that follows them. It
// returns a [*KeyPairError] if they cannot be used, without waiting for a
// rotation to end, and another error for a Config that makes no sense. It opens
// no connection.
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

// RoundTrip sends one request over the shared transport, after a look at the
// files. The error is a [*KeyPairError] if the credentials cannot be used, and
// the transport's otherwise.
func (c *Cache) RoundTrip(req *http.Request) (*http.Response, error) {
	g, err := c.acquire()
	if err != nil {
		closeBody(req)
		return nil, err
	}
	defer g.calls.Add(-1)
	return g.roundTrip(req)
}

// Check does what every call does first, and only that: it finds out whether the
// files changed, reloads them if they did, and returns the error that a call
// would. With nothing changed it costs one system call for each file, and
// allocates nothing on 64-bit Linux.
func (c *Cache) Check() error {
	_, err := c.current()
	return err
}

// Look reads the files now, whether or not they seem changed, as on SIGHUP. It
// returns a [*KeyPairError] if what is on disk cannot be used, even while
// calls are still served with the pair before it.
func (c *Cache) Look() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reload(time.Now())
}

// NotAfter returns when the client certificate in use expires. One that has
// expired is still used.
func (c *Cache) NotAfter() time.Time { return c.state.Load().notAfter() }

// Warnings returns what is left out of the files in use, such as a server CA
// that Go refuses: each names its file, what is wrong and what to do, and none
// quotes content. Log them after New; a reload logs its own.
func (c *Cache) Warnings() []string { return slices.Clone(c.state.Load().warnings) }

// Reloads returns how many times another pair, or another server CA, was taken
// into use since New.
func (c *Cache) Reloads() uint64 { return c.reloads.Load() }

// CloseIdleConnections closes connections that no call uses, as at the end of
// the program. [http.Client.CloseIdleConnections] calls it.
func (c *Cache) CloseIdleConnections() { c.state.Load().transport.CloseIdleConnections() }

// Close closes idle connections. Calls made later still work.
func (c *Cache) Close() { c.CloseIdleConnections() }

// acquire returns the generation for one call and counts the call in it. The
// caller gives it back by taking one off calls.
func (c *Cache) acquire() (*generation, error) {
	for {
		s, err := c.current()
		if err != nil {
			return nil, err
		}
		s.calls.Add(1)
		// A generation retires after it was replaced, and looks for calls then:
		// one counted while it was in use is seen, one counted later must not
		// start, or its connection would outlive the sweep.
		if c.state.Load().generation == s.generation {
			return s.generation, nil
		}
		s.calls.Add(-1)
	}
}
