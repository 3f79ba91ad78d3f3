// Package throttle decides when the gateway may be called. Breakers has one breaker for
// each operation of each CA, Prober is the state of the gateway as a whole, Pause is the
// wait that the gateway asked for, and Rate spaces calls out. What the workers of a
// fleet share goes through the interface Shared; the package knows no bus.
package throttle

import (
	"cmp"
	"context"
	"errors"
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

// ErrPaused is the cause of an OpenError while the gateway wants to be left alone.
var ErrPaused = errors.New("the gateway asked for a pause")

// Shared is what the workers of a fleet know of each other's breakers. Every error
// means that the effect is unknown.
type Shared interface {
	// OpenBreaker opens a breaker for the fleet or finds it open. It returns the name
	// of the opening, and how long the next canary has to wait. The interval goes on
	// from the last opening's, halved eased times.
	OpenBreaker(ctx context.Context, operation, ca string, eased int) (opening string, wait time.Duration, err error)
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
	// Cause is the last bad answer, ErrPaused, or why the gateway as a whole is shut.
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

// Outcome is how a call ended, as far as it says something of the gateway. The zero
// value is None.
type Outcome struct {
	kind  outcomeKind
	cause error
}

type outcomeKind int

const (
	none outcomeKind = iota
	good
	bad
	unauthorized
)

// Good is an answer of a gateway that works, whatever it says of the request.
func Good() Outcome { return Outcome{kind: good} }

// Bad is a failure or an answer that is the gateway's fault, with the error that shows it.
// A nil cause panics.
func Bad(cause error) Outcome { return Outcome{bad, mustCause(cause)} }

// Unauthorized is a 401 or a TLS alert, with the error that shows it. It shuts the whole
// gateway at once. A nil cause panics.
func Unauthorized(cause error) Outcome { return Outcome{unauthorized, mustCause(cause)} }

func mustCause(cause error) error {
	if cause == nil {
		panic("throttle: an outcome without its cause")
	}
	return cause
}

// None says nothing of the gateway: the call was cut off by this worker, or never made.
func None() Outcome { return Outcome{} }

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
	Pause  *Pause
	// OnChange is told of each change, in order, once. It must not block.
	OnChange func(Change)
}

// Breakers has one breaker for each operation of each CA, and asks Prober and Pause about
// the gateway as a whole. Most callers want Wait before they fetch, Admit before a call,
// and Done after it. Run must be running for the fleet to learn of openings and
// closings, and without it no canary is let through. Safe for concurrent use.
type Breakers struct {
	shared Shared
	prober *Prober
	pause  *Pause
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
		shared: cfg.Shared, prober: cfg.Prober, pause: cfg.Pause,
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

// Permit is one call that may be made. Done must follow, or a ramp-up stands still.
type Permit struct {
	of       *Breakers
	key      breakerKey
	breaker  *breaker
	epoch    uint64 // of the breaker
	gateway  uint64 // epoch of the prober
	producer string
	canary   bool
	slowed   bool
	once     sync.Once
}

// Admit asks whether a call may be made now, for a producer. It never waits for longer
// than one permit of the fleet takes to be asked for. It returns an *OpenError where the
// call must not be made, and the cause of ctx where that is done.
func (b *Breakers) Admit(ctx context.Context, op Operation, ca, producer string) (*Permit, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	ready, gateway, cause := b.prober.state()
	if !ready {
		return nil, &OpenError{op, ca, cause, retryIn}
	}
	if left := b.pause.Left(); left > 0 {
		return nil, &OpenError{op, ca, ErrPaused, left}
	}
	defer b.news.drain()
	b.mu.Lock()
	defer b.mu.Unlock()
	key, br := b.of(op, ca)
	d, wait := br.admit(producer, time.Now())
	p := &Permit{of: b, key: key, breaker: br, epoch: br.epoch, gateway: gateway, producer: producer}
	switch d {
	case pass:
		known := br.producers[producer]
		p.slowed = known.slow > 0
		return p, nil
	case passAsCanary:
		p.canary = true
		wait, cause := b.askCanary(ctx, p)
		if cause == nil {
			return p, nil
		}
		return nil, &OpenError{op, ca, cause, wait}
	}
	cause = br.cause
	if br.state == Closed {
		cause = errSlowed
	}
	return nil, &OpenError{op, ca, cause, wait}
}

// askCanary asks for the fleet's permit, and returns why p is refused and for how long,
// or nil. Caller holds b.mu, which is released meanwhile.
func (b *Breakers) askCanary(ctx context.Context, p *Permit) (wait time.Duration, cause error) {
	br := p.breaker
	br.asking = true
	b.mu.Unlock()
	ask, cancel := context.WithTimeout(ctx, sharedTime)
	taken, opening, next, err := b.shared.TakeCanary(ask, string(p.key.operation), p.key.ca, p.producer)
	cancel()
	b.mu.Lock()
	now := time.Now()
	if br.epoch != p.epoch { // another worker closed it meanwhile
		return retryIn, br.cause
	}
	br.asking = false
	defer b.changed.send()
	switch {
	case err != nil:
		br.due = now.Add(sharedTime)
		return sharedTime, fmt.Errorf("%w (asking the fleet for a canary: %w)", br.cause, err)
	case taken:
		br.adopt(opening, next, now)
		br.last = p.producer
		return 0, nil
	case next > 0:
		br.adopt(opening, next, now)
	case opening == br.opening:
		b.end(p.key, br, true, now)
	default: // the fleet knows of an older opening only
		br.check, br.due = true, now.Add(retryIn)
		b.publish()
	}
	return max(retryIn, next), br.cause
}

// Done takes in how the call ended. Only the first call of it counts.
func (p *Permit) Done(o Outcome) {
	p.once.Do(func() { p.of.done(p, o) })
}

func (b *Breakers) done(p *Permit, o Outcome) {
	if o.kind == unauthorized {
		b.prober.shut(p.gateway, o.cause)
		o = None()
	}
	defer b.news.drain()
	b.mu.Lock()
	defer b.mu.Unlock()
	br, now := p.breaker, time.Now()
	if br.epoch != p.epoch {
		return
	}
	was := br.state
	if was != Closed {
		defer b.changed.send()
	}
	switch {
	case p.canary && o.kind == good:
		br.producers[p.producer] = &producer{seen: now}
		br.close = br.opening
		b.end(p.key, br, false, now)
		b.publish()
	case p.canary && o.kind == bad:
		br.cause = o.cause
	case p.canary:
	case o.kind == good:
		if br.goodAnswer(p.producer, now) {
			b.news.push(Change{Operation: p.key.operation, CA: p.key.ca, Producer: p.producer, From: Open, To: Closed})
		}
		if br.state != was {
			b.news.push(Change{Operation: p.key.operation, CA: p.key.ca, From: was, To: br.state, Lasted: now.Sub(br.since)})
		}
	case o.kind == bad:
		trip, slowed := br.badAnswer(p.producer, p.slowed, now)
		if slowed {
			b.news.push(Change{Operation: p.key.operation, CA: p.key.ca, Producer: p.producer, From: Closed, To: Open, Cause: o.cause})
		}
		if trip {
			br.open("", p.producer, o.cause, 0, now)
			b.news.push(Change{Operation: p.key.operation, CA: p.key.ca, From: was, To: Open, Cause: o.cause})
			b.publish()
		}
	case was == HalfOpen:
		br.inFlight--
	}
}

// end ends an opening and begins the ramp-up. Caller holds b.mu.
func (b *Breakers) end(key breakerKey, br *breaker, remote bool, now time.Time) {
	br.end()
	b.changed.send()
	b.news.push(Change{Operation: key.operation, CA: key.ca, From: Open, To: HalfOpen, Remote: remote, Lasted: now.Sub(br.since)})
}

// Opened takes in that a breaker is open for the fleet: by which opening, whose call
// the last canary was, and how long the next one has to wait.
func (b *Breakers) Opened(operation, ca, opening, producer string, next time.Duration) {
	defer b.news.drain()
	b.mu.Lock()
	defer b.mu.Unlock()
	key, br := b.of(Operation(operation), ca)
	now := time.Now()
	switch {
	case opening == "" || opening == br.ended: // news from before its end
		return
	case br.state == Open:
		br.adopt(opening, next, now)
		br.last = producer
	default:
		was := br.state
		br.open(opening, producer, errElsewhere, next, now)
		b.news.push(Change{Operation: key.operation, CA: key.ca, From: was, To: Open, Cause: errElsewhere, Remote: true})
	}
	b.changed.send()
}

// ClosedBy takes in that an opening was closed for the fleet. An empty opening is
// whichever stands: an operator closed the breaker.
func (b *Breakers) ClosedBy(operation, ca, opening string) {
	defer b.news.drain()
	b.mu.Lock()
	defer b.mu.Unlock()
	key, br := b.of(Operation(operation), ca)
	if br.state == Open && br.opening != "" && (opening == br.opening || opening == "") {
		b.end(key, br, true, time.Now())
	}
}

// Synced takes in that everything the fleet knows has been told by Opened and ClosedBy.
// What is open here is made known again, where the fleet has forgotten it.
func (b *Breakers) Synced() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, br := range b.all {
		br.check = br.state == Open
	}
	b.publish()
}

// publish wakes Run. Caller holds b.mu.
func (b *Breakers) publish() {
	select {
	case b.dirty <- struct{}{}:
	default:
	}
}

// Run tells the fleet of openings and closings, until ctx is done. What fails is tried
// again.
func (b *Breakers) Run(ctx context.Context) {
	wait := firstRetry
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.dirty:
		}
		for !b.publishAll(ctx) {
			if sleep(ctx, wait) != nil {
				return
			}
			wait = min(2*wait, lastRetry)
		}
		wait = firstRetry
	}
}

// publishAll tells the fleet what it does not know yet, and reports whether that is all.
func (b *Breakers) publishAll(ctx context.Context) bool {
	b.mu.Lock()
	var keys []breakerKey
	for key, br := range b.all {
		if br.close != "" || br.state == Open && (br.opening == "" || br.check) {
			keys = append(keys, key)
		}
	}
	b.mu.Unlock()
	all := true
	for _, key := range keys {
		all = b.publishOne(ctx, key) && all
	}
	return all
}

func (b *Breakers) publishOne(ctx context.Context, key breakerKey) bool {
	ctx, cancel := context.WithTimeout(ctx, sharedTime)
	defer cancel()
	b.mu.Lock()
	br := b.all[key]
	ended := br.close
	b.mu.Unlock()
	// The end comes first: what opened again is another opening.
	if ended != "" {
		if b.shared.CloseBreaker(ctx, string(key.operation), key.ca, ended) != nil {
			return false
		}
	}
	b.mu.Lock()
	if br.close == ended {
		br.close = ""
	}
	left := br.close != ""
	open, eased, epoch := br.state == Open && (br.opening == "" || br.check), br.eased, br.epoch
	b.mu.Unlock()
	if left || !open {
		return !left
	}
	opening, wait, err := b.shared.OpenBreaker(ctx, string(key.operation), key.ca, eased)
	if err != nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if br.epoch == epoch {
		br.adopt(opening, wait, time.Now())
		b.changed.send()
	}
	return true
}

// Room returns how many calls of an operation could be admitted now, over all known
// CAs: math.MaxInt where one of them is closed, 1 for each canary that is due.
func (b *Breakers) Room(op Operation) int {
	if ready, _, _ := b.prober.state(); !ready || b.pause.Left() > 0 {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	room, _ := b.room(op, time.Now())
	return room
}

// room is Room without the gateway as a whole, and when it may grow by itself; zero:
// never. Caller holds b.mu.
func (b *Breakers) room(op Operation, now time.Time) (room int, due time.Time) {
	for _, ca := range b.known {
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

// Wait returns when at least one call of the operation could be admitted at some known
// CA, so that a lane leaves requests in the stream until then. It returns the cause of
// ctx where that is done first.
func (b *Breakers) Wait(ctx context.Context, op Operation) error {
	for ctx.Err() == nil {
		if err := b.prober.wait(ctx); err != nil {
			return err
		}
		if err := b.pause.Wait(ctx); err != nil {
			return err
		}
		shut, paused := b.prober.changed.next(), b.pause.changed.next()
		if ready, _, _ := b.prober.state(); !ready || b.pause.Left() > 0 {
			continue
		}
		b.mu.Lock()
		now := time.Now()
		room, due := b.room(op, now)
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
		case <-paused:
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
