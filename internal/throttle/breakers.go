// Package throttle decides when the worker may call the gateway. Breakers has one breaker
// for each operation of each CA. Prober tracks the gateway as a whole. Stops holds the
// pause that the gateway asked for and the suspensions of operators. Rate spaces calls
// out. Workers of a fleet share state through the interface Shared; the package does not
// import NATS.
package throttle

import (
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
	// firstRetry and lastRetry bound the wait before a failed call of Shared is repeated.
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
	// maxCAs bounds the unknown CAs with breakers of their own. Further CAs share the
	// breakers of otherCAs, which no CA can be named.
	maxCAs    = 256
	otherCAs  = "*"
	unlimited = math.MaxInt
)

// Shared is the fleet's common state of breakers. After any error the effect is unknown.
type Shared interface {
	// OpenBreaker opens a breaker for the fleet, or finds it open. It returns the name of
	// the opening and the wait before the next canary. The interval continues from the
	// last opening's, halved eased times. Operators read cause, the last bad answer.
	OpenBreaker(ctx context.Context, operation, ca string, eased int, cause string) (opening string, wait time.Duration, err error)
	// TakeCanary asks for the fleet's permit for one call. next is the wait before the
	// next canary. If taken is false and next is 0, the breaker that opening opened last
	// is closed.
	TakeCanary(ctx context.Context, operation, ca, producer string) (taken bool, opening string, next time.Duration, err error)
	// CloseBreaker ends an opening, unless it has ended already.
	CloseBreaker(ctx context.Context, operation, ca, opening string) error
}

// OpenError says that a call must not be made now. The worker sent nothing.
type OpenError struct {
	Operation Operation
	CA        string
	// Cause is the last bad answer, ErrPaused, or an ErrSuspended with its scope and
	// reason. If the gateway as a whole is not ready, it is the reason for that.
	Cause error
	// RetryIn is the wait before a new try can succeed, at least one second if the
	// breaker knows no better.
	RetryIn time.Duration
}

// Error names the operation, the CA and the cause.
func (e *OpenError) Error() string {
	return fmt.Sprintf("the breaker of %s at CA %q refuses calls: %v; try again in %s", e.Operation, e.CA, e.Cause, e.RetryIn.Round(time.Millisecond))
}

// Unwrap returns the cause.
func (e *OpenError) Unwrap() error { return e.Cause }

// Change reports a breaker that changed its state, or a producer whose slowing began or
// ended.
type Change struct {
	Operation Operation
	CA        string
	// Producer is empty for the breaker itself. Otherwise the slowing of this producer's
	// calls begins (To is Open) or ends (To is Closed).
	Producer string
	From, To State
	Cause    error         // of an opening, else nil
	Remote   bool          // another worker opened or closed it
	Lasted   time.Duration // length of the outage if To is Closed or HalfOpen
}

// Config configures Breakers. All fields but CAs and OnChange are required.
type Config struct {
	// CAs are the identifiers of the CAs known at the start.
	CAs    []string
	Shared Shared
	Prober *Prober
	Stops  *Stops
	// OnChange receives each change once, in order. It must not block.
	OnChange func(Change)
}

// Breakers has one breaker for each operation of each CA, and asks Prober and Stops about
// the gateway as a whole. Most callers call Wait before they fetch, Admit before a call,
// and Done after it. Run tells the fleet of openings and closings; while Run is not
// running, no canary is admitted. Safe for concurrent use.
type Breakers struct {
	shared Shared
	prober *Prober
	stops  *Stops
	news   queue[Change]

	mu      sync.Mutex
	known   []string
	cas     map[string]bool // CAs with breakers of their own
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

// Add makes a CA known. Wait then considers its breakers too.
func (b *Breakers) Add(ca string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.Contains(b.known, ca) {
		b.known = append(b.known, ca)
		b.cas[ca] = true
		b.changed.send()
	}
}

// of returns a breaker, and makes it if it is missing. Caller holds b.mu.
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

// Room returns how many calls of an operation a lane could make now, over all known CAs:
// math.MaxInt if the breaker of one CA is closed, else 1 for each due canary and the free
// calls of each ramp-up. Pass "" for a lane whose messages need no call: only a
// suspension of the whole lane then leaves no room.
func (b *Breakers) Room(lane string, op Operation) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	room, _ := b.room(lane, op, time.Now())
	return room
}

// room is Room with the time at which the room may grow by itself; zero: never. Caller
// holds b.mu.
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

// Wait returns when the lane could make at least one call of the operation at a known CA.
// Until then the lane leaves its requests in the stream. If ctx ends first, Wait returns
// its cause.
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
