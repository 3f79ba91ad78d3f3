package mtlscache

import "time"

// UseHTTP1 stops offering HTTP/2, for a server that requires HTTP/1.1. It affects new
// connections; calls in flight finish on theirs. Safe for concurrent use.
func (c *Cache) UseHTTP1() {
	c.adapt(func(cfg *Config) bool {
		changed := !cfg.http1
		cfg.http1 = true
		return changed
	})
}

// LimitIdle lowers Config.IdleConnTimeout to d, for a server that closes idle connections
// sooner. A d that is not positive, or not below the limit in force, changes nothing. Safe for
// concurrent use.
func (c *Cache) LimitIdle(d time.Duration) {
	c.adapt(func(cfg *Config) bool {
		changed := d > 0 && d < cfg.IdleConnTimeout
		if changed {
			cfg.IdleConnTimeout = d
		}
		return changed
	})
}

// adapt changes how connections are made. Later calls use new connections with the same pair.
// change reports whether it changed anything.
func (c *Cache) adapt(change func(*Config) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !change(&c.cfg) {
		return
	}
	old := c.state.Load()
	next := *old
	next.generation = newGeneration(c.cfg, old.material)
	c.state.Store(&next)
	old.retire()
}
