package mtlscache

import (
	"errors"
	"time"
)

// retryHalf is how soon an incomplete pair is read again while its marks stay
// the same: it was not readable, or was written within one tick of its stamp.
const retryHalf = 50 * time.Millisecond

// lookEvery is how long a call believes the wire without a look by path. It
// bounds how late a change shows that trips no wire, such as a mount over the
// files or a store through a memory mapping.
const lookEvery = 10 * time.Millisecond

// What tells whether the state in use is still right.
const (
	byLook int32 = iota // a look at the files by their paths: no wire tells of them
	byWire              // the wire, and a look now and then
	byNone              // nothing before refresh: the wire tripped, or the files cannot be used
)

// A state is what the calls use: a generation and the marks of the files that
// it was read from. It is never changed, only replaced.
type state struct {
	*generation
	marks marks
	// compareAt is until when content may be another although the marks are the
	// same, and when that has to be looked into; zero: never.
	compareAt time.Time
}

// newState records g as read under marks at now, or shortly after now.
func (c *Cache) newState(g *generation, marks *marks, now time.Time) *state {
	s := &state{generation: g, marks: *marks}
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
	tried time.Time // when that was; zero: something happened since
	err   error     // what it ended in
}

// look returns the state to use, reloaded if the files changed. Callers that
// met the same change come through one by one: the first reloads, the others
// find it done.
func (c *Cache) look() (*state, error) {
	if s, err := c.steady(); s != nil || err != nil {
		return s, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, err := c.steady(); s != nil || err != nil {
		return s, err
	}
	return c.refresh()
}

// steady returns the state if nothing changed, and no state if that has to be
// looked into.
func (c *Cache) steady() (*state, error) {
	trust := c.trust.Load()
	if trust == byWire {
		if c.wire.tripped() {
			return nil, nil
		}
		// Only what is loaded after that answer goes with it. Who empties the queue
		// withdraws the trust before, and puts a state read later in place before
		// giving it back.
		trust = c.trust.Load()
	}
	s := c.state.Load()
	switch {
	case trust == byNone || s.due():
		return nil, nil
	case trust == byWire && !c.lookDue():
		return s, nil
	}
	if changed, err := c.files.changed(&s.marks); changed {
		c.trust.CompareAndSwap(byWire, byNone) // for those who do not look
		return nil, err
	}
	return s, nil
}

// lookDue reports whether it is time to look at the files beside the wire.
func (c *Cache) lookDue() bool {
	now := time.Since(c.born)
	if now-time.Duration(c.looked.Load()) < lookEvery {
		return false
	}
	c.looked.Store(int64(now))
	return true
}

// refresh finds out what happened, and reloads what changed.
// Caller holds c.mu.
func (c *Cache) refresh() (*state, error) {
	s := c.state.Load()
	m, err := c.guard()
	if err != nil {
		return nil, err
	}
	// Where marks prove nothing yet, an event means that content is compared at once.
	doubt := c.trust.Load() == byNone && !s.compareAt.IsZero()
	if m.equal(&s.marks) && !doubt && !s.due() {
		c.half = nil
		c.use(s)
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
	m, marks, err := c.read()
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
		next := c.newState(old.generation, &marks, now)
		if marks.equal(&old.marks) && !now.Before(old.compareAt) {
			next.compareAt = time.Time{} // compared after its time: settled
		}
		c.use(next)
		return nil
	}
	c.reloads.Add(1) // first: who is served by the new pair finds it counted
	c.use(c.newState(newGeneration(c.cfg, m), &marks, now))
	c.cfg.Log.Info("client credentials reloaded", "path", c.files.watched[0].path, "not_after", m.notAfter())
	old.retire()
	return nil
}

// read reads the files behind the wire.
// Caller holds c.mu.
func (c *Cache) read() (*material, marks, error) {
	if _, err := c.guard(); err != nil {
		return nil, marks{}, err
	}
	return c.files.read()
}

// guard returns the marks of the files behind a wire that was drawn before, so
// that whatever happens to the files later trips it.
// Caller holds c.mu.
func (c *Cache) guard() (marks, error) {
	tripped := c.behind != nil && c.wire.tripped()
	if c.behind != nil && !tripped {
		if m, err := c.files.marks(); err == nil && m.equal(c.behind) {
			return m, nil
		}
	}
	c.trust.Store(byNone) // before the events are gone that tell others
	if tripped && c.half != nil {
		c.half.tried = time.Time{} // it may be complete now, under the same marks
	}
	c.behind = nil
	drawn := c.wire.draw(c.files.paths)
	m, err := c.files.marks()
	if drawn && err == nil {
		c.behind = &m
	}
	return m, err
}

// use puts s, which is right at this moment, in the place of the state in use,
// and then says what tells whether it stays so.
// Caller holds c.mu.
func (c *Cache) use(s *state) {
	c.state.Store(s)
	switch {
	case c.behind == nil:
		c.trust.Store(byLook)
	case c.behind.equal(&s.marks):
		c.trust.Store(byWire)
	default: // changed after the wire was drawn: the next call draws it anew
		c.trust.Store(byNone)
	}
}
