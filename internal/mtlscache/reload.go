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
	// compareAt is when the content is compared once more, since it may have
	// changed under the same marks; zero: never.
	compareAt time.Time
}

// newState records g as read under marks at now, or shortly after now.
func newState(g *generation, marks *marks, now time.Time) *state {
	s := &state{generation: g, marks: *marks}
	if marks.young(now) {
		s.compareAt = now.Add(stampTick)
	}
	return s
}

// due reports whether content has to be compared. It does not read the clock in
// the common case.
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

// current returns the state to use, reloaded if the files changed. Callers that
// met the same change come through one by one: the first reloads, the others
// find it done.
func (c *Cache) current() (*state, error) {
	s := c.state.Load()
	if changed, err := c.files.changed(&s.marks); err == nil && !changed && !s.due() {
		return s, nil
	} else if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refresh()
}

// refresh finds out what happened, and reloads what changed.
// Caller holds c.mu.
func (c *Cache) refresh() (*state, error) {
	s := c.state.Load()
	m, err := c.files.marks()
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
	old := c.state.Load()
	m, marks, err := c.files.read()
	if err != nil {
		if broken, ok := errors.AsType[*KeyPairError](err); ok && broken.incomplete {
			next := &half{since: now, marks: marks, tried: now, err: err}
			// What failed while nothing had changed was no rotation: one begins now.
			if h := c.half; h != nil && (marks.equal(&old.marks) || !h.marks.equal(&old.marks)) {
				next.since = h.since
			}
			c.half = next
		} else {
			c.half = nil
		}
		return err
	}
	c.half = nil
	if m.same(old.material) {
		next := newState(old.generation, &marks, now)
		if marks.equal(&old.marks) && !now.Before(old.compareAt) {
			next.compareAt = time.Time{} // compared after its time: settled
		}
		c.state.Store(next)
		return nil
	}
	c.reloads.Add(1) // first: who is served by the new pair finds it counted
	c.state.Store(newState(newGeneration(c.cfg, m), &marks, now))
	c.logReload(m)
	old.retire()
	return nil
}

// logReload logs the warnings as well, since no caller waits for them.
func (c *Cache) logReload(m *material) {
	log := c.cfg.Log.With("path", c.files.watched[0].path, "not_after", m.notAfter())
	if len(m.warnings) > 0 {
		log.Warn("client credentials reloaded", "warnings", m.warnings)
		return
	}
	log.Info("client credentials reloaded")
}
