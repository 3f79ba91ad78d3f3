package mtlscache

import (
	"errors"
	"time"
)

// retryHalf is how soon an incomplete pair is read again while its marks stay
// the same: it was not readable, or was written within one tick of its stamp.
const retryHalf = 50 * time.Millisecond

// A state is what the calls use: a generation and the marks of the files that
// it was read from. It is never changed, only replaced.
type state struct {
	*generation
	marks marks
	held  [maxFiles]held
	// compareAt is when content has to be compared although the marks are the
	// same; zero: never.
	compareAt time.Time
}

// newState records g as read under marks at now, or shortly after now.
func (c *Cache) newState(g *generation, marks *marks, now time.Time) *state {
	s := &state{generation: g, marks: *marks, held: c.files.hold(marks)}
	if c.files.young(marks, now) {
		s.compareAt = now.Add(stampTick)
	}
	return s
}

// due reports whether content has to be compared. The clock is not read in the
// common case.
func (s *state) due() bool {
	return !s.compareAt.IsZero() && !time.Now().Before(s.compareAt)
}

// A half is a rotation of which only a part has been seen so far.
type half struct {
	since time.Time // when a call first met it
	marks marks     // of the last attempt to read it
	tried time.Time // when that was
	err   error     // what it ended in
}

// look returns the state to use, reloaded if the files changed.
func (c *Cache) look() (*state, error) {
	s := c.state.Load()
	changed, err := c.files.changed(s)
	if err != nil {
		return nil, err
	}
	if !changed && !s.due() {
		return s, nil
	}
	return c.refresh()
}

// refresh is the slow part of look. Callers that met the same change come
// through one by one: the first reloads, the others find it done.
func (c *Cache) refresh() (*state, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.state.Load()
	m, err := c.files.marks() // again: the lock may have been long in coming
	if err != nil {
		return nil, err
	}
	if m.equal(&s.marks) && !s.due() {
		c.half = nil
		return s, nil
	}
	now := time.Now()
	if h := c.half; h == nil || !m.equal(&h.marks) || now.Sub(h.tried) >= retryHalf {
		if err := c.reload(now); err == nil {
			return c.state.Load(), nil
		} else if c.half == nil {
			return nil, err
		}
	}
	if now.Sub(c.half.since) < c.cfg.HalfRotationWait {
		return s, nil
	}
	return nil, c.half.err
}

// reload reads the files and, if they hold something else than is in use, takes
// it into use. An error leaves the state as it is, and is kept in c.half if a
// rotation in progress can explain it.
// Caller holds c.mu.
func (c *Cache) reload(now time.Time) error {
	m, marks, err := c.files.read()
	if err != nil {
		if broken, ok := errors.AsType[*KeyPairError](err); ok && broken.incomplete {
			since := now
			if c.half != nil {
				since = c.half.since
			}
			c.half = &half{since: since, marks: marks, tried: now, err: err}
		} else {
			c.half = nil
		}
		return err
	}
	c.half = nil
	old := c.state.Load()
	if m.same(old.material) {
		next := c.newState(old.generation, &marks, now)
		if marks.equal(&old.marks) && !now.Before(old.compareAt) {
			next.compareAt = time.Time{} // compared after its time: settled
		}
		c.replace(next)
		return nil
	}
	c.reloads.Add(1) // first: who is served by the new pair finds it counted
	c.replace(c.newState(newGeneration(c.cfg, m), &marks, now))
	c.cfg.Log.Info("client credentials reloaded", "path", c.files.watched[0].path, "not_after", m.notAfter())
	old.retire()
	return nil
}

// replace puts next in the place of the state in use.
// Caller holds c.mu.
func (c *Cache) replace(next *state) {
	for _, h := range c.state.Swap(next).held {
		h.release()
	}
}
