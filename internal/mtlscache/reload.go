package mtlscache

import (
	"errors"
	"time"
)

// retryHalf is how soon an incomplete pair is read again while its marks stay the
// same: it may have been unreadable, or may change within one tick of file times.
const retryHalf = 50 * time.Millisecond

// A state is what the calls use: a generation, and the marks of the files from which
// it was read. It is never changed, only replaced.
type state struct {
	*generation
	marks marks
	// compareAt is when the content is compared once more, because it may have
	// changed without a change of the marks; zero: never.
	compareAt time.Time
}

// newState returns the state for g, which was read under marks at now or shortly
// after.
func newState(g *generation, marks *marks, now time.Time) *state {
	s := &state{generation: g, marks: *marks}
	if marks.young(now) {
		s.compareAt = now.Add(stampTick)
	}
	return s
}

// due reports whether the content must be compared. In the common case it does not
// read the clock.
func (s *state) due() bool {
	return !s.compareAt.IsZero() && !time.Now().Before(s.compareAt)
}

// A half is an incomplete rotation: the files on disk cannot be used yet.
type half struct {
	since time.Time // when a call first saw it
	marks marks     // at the last attempt to read it
	tried time.Time // when the last attempt began
	err   error     // of the last attempt
}

// current returns the state to use, and reloads the files if they changed. Callers
// that saw the same change take the lock one by one: the first reloads, the others
// find the new state.
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

// refresh compares the files with the state, and reloads them if they changed.
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

// reload reads the files and, if their content is new, makes it the state. An error
// does not change the state. reload keeps the error in c.half if a rotation in
// progress can explain it.
// Caller holds c.mu.
func (c *Cache) reload(now time.Time) error {
	old := c.state.Load()
	m, marks, err := c.files.read()
	if err != nil {
		if broken, ok := errors.AsType[*KeyPairError](err); ok && broken.incomplete {
			next := &half{since: now, marks: marks, tried: now, err: err}
			// An earlier failure with unchanged marks was not this rotation, which begins
			// only now.
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
			next.compareAt = time.Time{} // the last tick has passed: no further comparison
		}
		c.state.Store(next)
		return nil
	}
	c.reloads.Add(1) // first: a caller that uses the new pair sees the count
	c.state.Store(newState(newGeneration(c.cfg, m), &marks, now))
	c.logReload(m)
	old.retire()
	return nil
}

// logReload logs a reload with its warnings, since no caller gets them.
func (c *Cache) logReload(m *material) {
	log := c.cfg.Log.With("path", c.files.watched[0].path, "not_after", m.notAfter())
	if len(m.warnings) > 0 {
		log.Warn("client credentials reloaded", "warnings", m.warnings)
		return
	}
	log.Info("client credentials reloaded")
}
