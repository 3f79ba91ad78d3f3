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
	// MaxPause caps a pause, whoever asked for it.
	MaxPause = time.Hour
	// firstLook and lastLook bound how long a call that meets a suspension is told to wait:
	// as long as the suspension has stood. So a short one ends soon for the orders that wait,
	// and a long one wakes them rarely, and spreads them when it ends.
	firstLook = time.Second
	lastLook  = 5 * time.Minute
)

var (
	// ErrPaused is the cause of an OpenError while the gateway wants to be left alone.
	ErrPaused = errors.New("the gateway asked for a pause")
	// ErrSuspended is the cause of an OpenError while an operator wants no such calls.
	ErrSuspended = errors.New("an operator suspended")
)

// Scope names calls: those of one lane, of one producer, at one CA. An empty field stands for
// all of them. A single call has all three.
type Scope struct{ Lane, Producer, CA string }

// covers reports whether every call of o is one of s.
func (s Scope) covers(o Scope) bool {
	return (s.Lane == "" || s.Lane == o.Lane) && (s.Producer == "" || s.Producer == o.Producer) && (s.CA == "" || s.CA == o.CA)
}

// Suspension is what an operator wants not to be called.
type Suspension struct {
	Scope
	// About says in a few words what is suspended and why. Producers may read it.
	About string
	// Age is how long it has stood already.
	Age time.Duration
}

// Stops is what keeps calls from being made, however the gateway answers. A stop has a scope
// and an end. The pause that the gateway asked for covers every call and ends by its time; a
// suspension covers what an operator named, and ends when an operator says so. Both run on
// the monotonic clock. The zero value stops nothing and is ready to use. Safe for concurrent
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

// Pause stops every call for d from now at least, and at most MaxPause. It never shortens a
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

// PausedUntil returns when the pause ends, on this host's clock; zero where there is none.
func (s *Stops) PausedUntil() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !time.Now().Before(s.paused) {
		return time.Time{}
	}
	return s.paused
}

// PauseLeft returns how long the pause still lasts; 0 where there is none.
func (s *Stops) PauseLeft() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(0, time.Until(s.paused))
}

// WaitPause returns at the end of the pause, at once where there is none, or with the cause of
// ctx. It does not wait for suspensions.
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

// Suspend sets which suspensions stand: these, and no others.
func (s *Stops) Suspend(all []Suspension) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.suspended
	s.suspended = nil
	for _, o := range all {
		next := suspension{o.Scope, fmt.Errorf("%w %s", ErrSuspended, o.About), time.Now().Add(-max(0, o.Age))}
		if i := slices.IndexFunc(was, func(w suspension) bool { return w.Scope == o.Scope && w.cause.Error() == next.cause.Error() }); i >= 0 {
			next.since = was[i].since // it goes on, whatever another reading of the clock says
		}
		s.suspended = append(s.suspended, next)
	}
	s.changed.send()
}

// Of returns why no call of the scope may be made, and when asking again makes sense; nil
// where calls may be made. A stop that covers a part of the scope only does not count.
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

// Suspended is Of for suspensions alone: why an order that is new is better put off than
// handed back, as no end is in sight.
func (s *Stops) Suspended(calls Scope) (retryIn time.Duration, cause error) {
	if retryIn, cause = s.Of(calls); errors.Is(cause, ErrSuspended) {
		return retryIn, cause
	}
	return 0, nil
}

// lane returns why a lane may fetch nothing although its messages need no call; nil where it may.
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

// sleep waits for d, or until ctx is done, and then returns its cause.
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
