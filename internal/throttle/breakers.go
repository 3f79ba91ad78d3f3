// Package throttle decides when the gateway may be called. Breakers has one breaker for
// each operation of each CA, Prober is the state of the gateway as a whole, Stops are the
// pause that the gateway asked for and what operators suspended, and Rate spaces calls out.
// What the workers of a fleet share goes through the interface Shared; the package knows no
// bus.
package throttle

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"
)

const (
	// sharedTime bounds one call of Shared.
	sharedTime = 5 * time.Second
	// firstRetry and lastRetry bound the pause before the fleet is told again.
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
	// maxCAs bounds the CAs that have breakers of their own without being known; the
	// others share those of otherCAs, which is no CA's identifier.
	maxCAs    = 256
	otherCAs  = "*"
	unlimited = math.MaxInt
)

// Shared is what the workers of a fleet know of each other's breakers. Every error
// means that the effect is unknown.
type Shared interface {
	// OpenBreaker opens a breaker for the fleet or finds it open. It returns the name
	// of the opening, and how long the next canary has to wait. The interval goes on
	// from the last opening's, halved eased times. cause is the last bad answer, for people.
	OpenBreaker(ctx context.Context, operation, ca string, eased int, cause string) (opening string, wait time.Duration, err error)
	// TakeCanary asks for the fleet's permit for one call. next is how long the next
	// canary has to wait; 0 and not taken means that the breaker, last opened as
	// opening, is closed.
	TakeCanary(ctx context.Context, operation, ca, producer string) (taken bool, opening string, next time.Duration, err error)
	// CloseBreaker ends an opening, unless it has ended already.
	CloseBreaker(ctx context.Context, operation, ca, opening string) error
}

// OpenError says that a call must not be made now. Nothing was sent.
type OpenError struct {
	Operation Operation
	CA        string
	// Cause is the last bad answer, ErrPaused, an ErrSuspended that says what and why, or why
	// the gateway as a whole is shut.
	Cause error
	// RetryIn is the earliest time at which asking again makes sense, at least a
	// second where the breaker knows no better.
	RetryIn time.Duration
}

// Error names operation, CA and cause.
func (e *OpenError) Error() string {
	return fmt.Sprintf("the breaker of %s at CA %q refuses calls: %v; try again in %s", e.Operation, e.CA, e.Cause, e.RetryIn.Round(time.Millisecond))
}

// Unwrap returns the cause.
func (e *OpenError) Unwrap() error { return e.Cause }

// Change is a breaker that changed its state, or a producer that is slowed or no longer.
type Change struct {
	Operation Operation
	CA        string
	// Producer is empty for the breaker itself. Otherwise only this producer's calls
	// are slowed (To is Open) or no longer (To is Closed).
	Producer string
	From, To State
	Cause    error         // of an opening
	Remote   bool          // another worker saw it first
	Lasted   time.Duration // of the outage, where To is Closed or HalfOpen
}

// Status is one breaker that is not closed, or slows producers down.
type Status struct {
	Operation Operation
	CA        string
	State     State
	Cause     error
	// Since is when the outage began; zero while closed.
	Since time.Time
	// NextCanary is how long the next canary has to wait; 0 where it is due, or where
	// the state is not Open.
	NextCanary time.Duration
	// Step is how many calls at a time the ramp-up allows, while half-open.
	Step int
	// Slowed is how many producers are slowed on their own.
	Slowed int
}

// Config says what breakers are made of. All fields but CAs and OnChange are required.
type Config struct {
	// CAs are the identifiers of the CAs that are known at the start.
	CAs    []string
	Shared Shared
	Prober *Prober
	Stops  *Stops
	// OnChange is told of each change, in order, once. It must not block.
	OnChange func(Change)
}

// Breakers has one breaker for each operation of each CA, and asks Prober and Stops about
// the gateway as a whole. Most callers want Wait before they fetch, Admit before a call,
// and Done after it. Run must be running for the fleet to learn of openings and
// closings, and without it no canary is let through. Safe for concurrent use.
type Breakers struct {
	shared Shared
	prober *Prober
	stops  *Stops
	news   queue[Change]

	mu      sync.Mutex
	known   []string
	cas     map[string]bool // that have breakers of their own
	all     map[breakerKey]*breaker
	changed broadcast
	dirty   chan struct{} // wakes Run
}

type breakerKey struct {
	operation Operation
	ca        string
}

// NewBreakers returns breakers that are all closed.
func NewBreakers(cfg Config) *Breakers {
	b := &Breakers{
		shared: cfg.Shared, prober: cfg.Prober, stops: cfg.Stops,
		news: queue[Change]{tell: cfg.OnChange},
		cas:  map[string]bool{}, all: map[breakerKey]*breaker{},
		dirty: make(chan struct{}, 1),
	}
	for _, ca := range cfg.CAs {
		b.Add(ca)
	}
	return b
}

// Add makes a CA known: Wait asks about its breakers too.
func (b *Breakers) Add(ca string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.Contains(b.known, ca) {
		b.known = append(b.known, ca)
		b.cas[ca] = true
		b.changed.send()
	}
}

// of returns a breaker, made where there is none yet. Caller holds b.mu.
func (b *Breakers) of(op Operation, ca string) (breakerKey, *breaker) {
	if !b.cas[ca] {
		if len(b.cas) < maxCAs {
			b.cas[ca] = true
		} else {
			ca = otherCAs
		}
	}
	key := breakerKey{op, ca}
	br := b.all[key]
	if br == nil {
		br = &breaker{producers: map[string]*producer{}}
		b.all[key] = br
	}
	return key, br
}

// end ends an opening and begins the ramp-up. Caller holds b.mu.
func (b *Breakers) end(key breakerKey, br *breaker, remote bool, now time.Time) {
	br.end()
	b.changed.send()
	b.news.push(Change{Operation: key.operation, CA: key.ca, From: Open, To: HalfOpen, Remote: remote, Lasted: now.Sub(br.since)})
}

// Room returns how many calls of an operation could be admitted now for a lane, over all known
// CAs: math.MaxInt where one of them is closed, 1 for each canary that is due. The operation is
// "" for a lane whose messages need none: only a suspension of all of it leaves no room.
func (b *Breakers) Room(lane string, op Operation) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	room, _ := b.room(lane, op, time.Now())
	return room
}

// room is Room, and when it may grow by itself; zero: never. Caller holds b.mu.
func (b *Breakers) room(lane string, op Operation, now time.Time) (room int, due time.Time) {
	if b.stops.lane(lane) != nil {
		return 0, time.Time{}
	}
	if op == "" {
		return unlimited, time.Time{}
	}
	if ready, _, _ := b.prober.state(); !ready {
		return 0, time.Time{}
	}
	if left, cause := b.stops.Of(Scope{Lane: lane}); cause != nil {
		return 0, now.Add(left)
	}
	for _, ca := range b.known {
		if _, cause := b.stops.Of(Scope{Lane: lane, CA: ca}); cause != nil {
			continue // suspended
		}
		br := b.all[breakerKey{op, ca}]
		if br == nil || br.state == Closed {
			return unlimited, time.Time{}
		}
		room += br.room(now)
		if br.state == Open && br.opening != "" && br.due.After(now) && (due.IsZero() || br.due.Before(due)) {
			due = br.due
		}
	}
	if len(b.known) == 0 {
		return unlimited, time.Time{}
	}
	return room, due
}

// Wait returns when at least one call of the operation could be admitted for the lane at some
// known CA, so that the lane leaves requests in the stream until then. It returns the cause
// of ctx where that is done first.
func (b *Breakers) Wait(ctx context.Context, lane string, op Operation) error {
	for ctx.Err() == nil {
		shut, stopped := b.prober.changed.next(), b.stops.changed.next()
		b.mu.Lock()
		now := time.Now()
		room, due := b.room(lane, op, now)
		changed := b.changed.next()
		b.mu.Unlock()
		if room > 0 {
			return nil
		}
		var timer <-chan time.Time
		if !due.IsZero() {
			timer = time.After(due.Sub(now))
		}
		select {
		case <-ctx.Done():
		case <-timer:
		case <-changed:
		case <-shut:
		case <-stopped:
		}
	}
	return context.Cause(ctx)
}

// Snapshot returns every breaker that is not closed or slows a producer down, in order of
// operation and CA.
func (b *Breakers) Snapshot() []Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	var all []Status
	for key, br := range b.all {
		s := Status{Operation: key.operation, CA: key.ca, State: br.state}
		for _, p := range br.producers {
			if p.slow > 0 {
				s.Slowed++
			}
		}
		switch br.state {
		case Closed:
			if s.Slowed == 0 {
				continue
			}
		case Open:
			s.NextCanary = max(0, br.due.Sub(now))
		case HalfOpen:
			s.Step = br.step
		}
		if br.state != Closed {
			s.Cause, s.Since = br.cause, br.since
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b Status) int {
		return cmp.Or(cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.CA, b.CA))
	})
	return all
}
