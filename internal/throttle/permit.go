package throttle

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Outcome is the end of a call, as far as it shows whether the gateway works. The zero
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

// Good is the outcome of an answer that shows a working gateway, even if it refuses the
// request.
func Good() Outcome { return Outcome{kind: good} }

// Bad is the outcome of a failure, or of an answer that is the gateway's fault. cause is
// the error that shows it. A nil cause panics.
func Bad(cause error) Outcome { return Outcome{bad, mustCause(cause)} }

// Unauthorized is the outcome of a 401 or a TLS alert. cause is the error that shows it.
// All calls to the gateway stop at once. A nil cause panics.
func Unauthorized(cause error) Outcome { return Outcome{unauthorized, mustCause(cause)} }

func mustCause(cause error) error {
	if cause == nil {
		panic("throttle: an outcome without its cause")
	}
	return cause
}

// None is the outcome of a call that this worker cut off or never made.
func None() Outcome { return Outcome{} }

// Permit allows one call. Call Done after it, or a ramp-up does not advance.
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

// Admit asks whether a lane may make a call for a producer at a CA now. It waits at most
// for one request for the fleet's permit. It returns an *OpenError if the call must not
// be made, and the cause of ctx if ctx has ended.
func (b *Breakers) Admit(ctx context.Context, op Operation, call Scope) (*Permit, error) {
	ca, producer := call.CA, call.Producer
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	ready, gateway, cause := b.prober.state()
	if !ready {
		return nil, &OpenError{op, ca, cause, retryIn}
	}
	if left, cause := b.stops.Of(call); cause != nil {
		return nil, &OpenError{op, ca, cause, left}
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

// askCanary asks for the fleet's permit. It returns nil, or the reason why p is refused
// and the time to wait. Caller holds b.mu; askCanary releases it while it asks.
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
	default: // the fleet knows an older opening only
		br.check, br.due = true, now.Add(retryIn)
		b.publish()
	}
	return max(retryIn, next), br.cause
}

// Done records how the call ended. Only its first call counts.
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
