package throttle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

const (
	// MaxPause caps every pause.
	MaxPause = time.Hour
	// A call that meets a suspension is told to wait for as long as the suspension has
	// lasted, between firstLook and lastLook. Waiting orders then notice the end of a
	// short suspension soon. A long suspension wakes them rarely, and spreads them when
	// it ends.
	firstLook = time.Second
	lastLook  = 5 * time.Minute
)

var (
	// ErrPaused is the cause of an OpenError during a pause that the gateway asked for.
	ErrPaused = errors.New("the gateway asked for a pause")
	// ErrSuspended is the cause of an OpenError while an operator suspends such calls.
	ErrSuspended = errors.New("an operator suspended")
)

// Scope names calls by lane, producer and CA. An empty field stands for all of its kind.
// A single call has all three.
type Scope struct{ Lane, Producer, CA string }

// covers reports whether every call of o is one of s.
func (s Scope) covers(o Scope) bool {
	return (s.Lane == "" || s.Lane == o.Lane) && (s.Producer == "" || s.Producer == o.Producer) && (s.CA == "" || s.CA == o.CA)
}

// Suspension names the calls that an operator suspended.
type Suspension struct {
	Scope
	// About says in a few words what is suspended and why. Producers may read it.
	About string
	// Age is how long the suspension has lasted.
	Age time.Duration
}

// Stops prevents calls, whatever the gateway answers. A stop has a scope and an end. The
// gateway's pause covers every call and ends by its time. A suspension covers the calls
// that an operator named, and ends when an operator resumes them. Both run on the
// monotonic clock. The zero value stops nothing and is ready to use. Safe for concurrent
// use.
type Stops struct {
	mu        sync.Mutex
	paused    time.Time // end of the pause
	suspended []suspension
	changed   broadcast
}

type suspension struct {
	Scope
	cause error
	since time.Time
}

// Pause stops every call for at least d from now; MaxPause caps d. It never shortens a
// pause. It reports whether it changed anything.
func (s *Stops) Pause(d time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	until := time.Now().Add(min(d, MaxPause))
	if d <= 0 || !until.After(s.paused) {
		return false
	}
	s.paused = until
	s.changed.send()
	return true
}

// EndPause ends the pause now.
func (s *Stops) EndPause() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paused = time.Time{}
	s.changed.send()
}

// PausedUntil returns the end of the pause on this host's clock; zero without a pause.
func (s *Stops) PausedUntil() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !time.Now().Before(s.paused) {
		return time.Time{}
	}
	return s.paused
}

// PauseLeft returns how long the pause still lasts; 0 without a pause.
func (s *Stops) PauseLeft() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(0, time.Until(s.paused))
}

// WaitPause returns at the end of the pause, at once without a pause, or with the cause
// of ctx. It does not wait for suspensions.
func (s *Stops) WaitPause(ctx context.Context) error {
	for {
		changed := s.changed.next()
		left := s.PauseLeft()
		if left == 0 {
			return nil
		}
		t := time.NewTimer(left)
		select {
		case <-ctx.Done():
			t.Stop()
			return context.Cause(ctx)
		case <-t.C:
		case <-changed:
			t.Stop()
		}
	}
}

// Suspend replaces all suspensions by the given ones.
func (s *Stops) Suspend(all []Suspension) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.suspended
	s.suspended = nil
	for _, o := range all {
		next := suspension{o.Scope, fmt.Errorf("%w %s", ErrSuspended, o.About), time.Now().Add(-max(0, o.Age))}
		if i := slices.IndexFunc(was, func(w suspension) bool { return w.Scope == o.Scope && w.cause.Error() == next.cause.Error() }); i >= 0 {
			next.since = was[i].since // keep the start: another clock reading must not move it
		}
		s.suspended = append(s.suspended, next)
	}
	s.changed.send()
}

// Of returns why no call of the scope may be made, and the wait before a new try. cause
// is nil if calls may be made. A stop that covers only a part of the scope does not
// count.
func (s *Stops) Of(calls Scope) (retryIn time.Duration, cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.suspended {
		if o.covers(calls) {
			return min(max(time.Since(o.since), firstLook), lastLook), o.cause
		}
	}
	if left := time.Until(s.paused); left > 0 {
		return left, ErrPaused
	}
	return 0, nil
}

// Suspended is Of for suspensions alone. A suspension has no known end, so a new order
// that meets it is better deferred than handed back.
func (s *Stops) Suspended(calls Scope) (retryIn time.Duration, cause error) {
	if retryIn, cause = s.Of(calls); errors.Is(cause, ErrSuspended) {
		return retryIn, cause
	}
	return 0, nil
}

// lane returns why a lane whose messages need no call may fetch nothing; nil if it may
// fetch.
func (s *Stops) lane(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.suspended {
		if o.Scope == (Scope{Lane: name}) {
			return o.cause
		}
	}
	return nil
}

// sleep waits for d. If ctx ends first, it returns the cause of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
