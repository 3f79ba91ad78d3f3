package consumer

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"
	"golang.org/x/time/rate"

	"github.com/entrust-worker/entrust-worker/internal/gateway"
)

const (
	// tripAfter is how many calls in a row must fail for the gateway's sake
	// before the gate shuts. Refused credentials shut it at once.
	tripAfter = 5
	// probeFirst and probeMax bound the pause between two probes of a gateway
	// that is down.
	probeFirst = time.Second
	probeMax   = 30 * time.Second
	probeTime  = 35 * time.Second
)

// gate holds every call to the gateway while the gateway is down, refuses our
// credentials, or asked for a pause. What waits at it stays in hand or in the
// stream: no delivery is counted and nothing fails. It starts shut and opens
// with the first probe that the gateway answers. Safe for concurrent use.
type gate struct {
	probe   func(context.Context) error
	log     *slog.Logger
	stop    context.Context // what waits at the gate is handed back when it ends; set once, before Run starts anything
	limit   *rate.Limiter   // nil: no limit
	reserve *rate.Limiter   // what the lanes other than revocations share of it

	mu      sync.Mutex
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
	tripNow bool      // the failure being counted trips at once
	ready   bool      // the gateway answered once
	hold    time.Time // asked for by the gateway, for the whole fleet
	why     error     // the last reason for shutting
	changed chan struct{}
	// One call of each caller at a time queues for a token: so requests and polls
	// take turns, however many of either there are, and use what is left over.
	turns   [forRevocation]chan struct{}
	wake    chan struct{} // tells the prober that the gate shut
	onState func(open bool, why string)
	onHold  func(time.Time)
	// onPause is told of a pause that a probe's answer asks for.
	onPause func(ctx context.Context, wait time.Duration, err error)
}

// caller is whom a call is made for.
type caller int

const (
	forRequest caller = iota
	forPoll
	forRevocation // these never wait for the others
)

// alone marks the context of a message that is tried with nothing else in hand. It
// must not wait at a gate that is shut, for then nothing else would be taken up.
type alone struct{}

var errShut = errors.New("the gateway must be left alone, and nothing else is in hand beside this")

func newGate(probe func(context.Context) error, perSecond float64, log *slog.Logger, onState func(bool, string)) *gate {
	g := &gate{
		probe: probe, log: log, onState: onState,
		why:     errors.New("the gateway has not answered yet"),
		changed: make(chan struct{}), wake: make(chan struct{}, 1),
	}
	for i := range g.turns {
		g.turns[i] = make(chan struct{}, 1)
	}
	g.onPause = func(_ context.Context, wait time.Duration, _ error) { g.holdUntil(time.Now().Add(wait)) }
	g.setRate(perSecond)
	g.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests: 1,
		Timeout:     time.Millisecond, // the prober paces itself
		ReadyToTrip: func(c gobreaker.Counts) bool { return g.tripNow || c.ConsecutiveFailures >= tripAfter },
	})
	return g
}

// setRate limits the calls a second; 0 takes the limit away. Revocations may
// use all of it, the other lanes four fifths, so that a backlog of enrollments
// leaves room for a revocation.
func (g *gate) setRate(perSecond float64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if perSecond <= 0 {
		g.limit, g.reserve = nil, nil
		return
	}
	if g.limit == nil {
		g.limit, g.reserve = rate.NewLimiter(0, 1), rate.NewLimiter(0, 1)
	}
	g.limit.SetLimit(rate.Limit(perSecond))
	g.limit.SetBurst(max(1, int(perSecond/10)))
	g.reserve.SetLimit(rate.Limit(perSecond * 0.8))
	g.reserve.SetBurst(max(1, int(perSecond/10)))
}

// state returns whether calls may pass, until when a hold lasts if one does,
// and the channel that closes at the next change. Caller holds g.mu.
func (g *gate) state(now time.Time) (open bool, hold time.Duration, changed <-chan struct{}) {
	hold = max(0, g.hold.Sub(now))
	return g.ready && g.breaker.State() == gobreaker.StateClosed && hold == 0, hold, g.changed
}

// announce wakes everybody that waits for a change. Caller holds g.mu.
func (g *gate) announce() {
	close(g.changed)
	g.changed = make(chan struct{})
}

// waitOpen waits until calls may pass. It returns the cause of ctx when that
// ends first.
func (g *gate) waitOpen(ctx context.Context) error {
	for {
		g.mu.Lock()
		open, hold, changed := g.state(time.Now())
		g.mu.Unlock()
		if open {
			return nil
		}
		var end <-chan time.Time
		if hold > 0 {
			t := time.NewTimer(hold)
			defer t.Stop()
			end = t.C
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-changed:
		case <-end:
		}
	}
}

// pass waits until one call may be made: the gate open and a token of the rate
// limit taken.
//
// A message that waits here goes back as soon as the worker stops.
func (g *gate) pass(ctx context.Context, who caller) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(g.stop, func() { cancel(errStopping) })()
	for {
		if ctx.Value(alone{}) != nil && !g.open() {
			return later(probeFirst, errShut)
		}
		if err := g.waitOpen(ctx); err != nil {
			return err
		}
		g.mu.Lock()
		limit, reserve := g.limit, g.reserve
		g.mu.Unlock()
		if limit == nil {
			return nil
		}
		if who != forRevocation {
			if err := g.inTurn(ctx, who, reserve); err != nil {
				return cause(ctx, err)
			}
		}
		if err := limit.Wait(ctx); err != nil {
			return cause(ctx, err)
		}
		// The gate may have shut while the token was awaited.
		if g.open() {
			return nil
		}
	}
}

// inTurn waits for a token of reserve when it is the caller's turn.
func (g *gate) inTurn(ctx context.Context, who caller, reserve *rate.Limiter) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case g.turns[who] <- struct{}{}:
	}
	defer func() { <-g.turns[who] }()
	return reserve.Wait(ctx)
}

// open reports whether calls may pass.
func (g *gate) open() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	open, _, _ := g.state(time.Now())
	return open
}

func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// report tells the gate how a call ended, nil for an answer.
func (g *gate) report(err error) {
	fate := gateway.FateOf(err)
	failed := fate == gateway.NotAccepted || fate == gateway.Unauthorized || fate == gateway.Unknown
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.breaker.State() != gobreaker.StateClosed {
		return // a straggler of before; the prober decides
	}
	done, refused := g.breaker.Allow()
	if refused != nil {
		return
	}
	if !failed {
		done(nil)
		return
	}
	g.tripNow = fate == gateway.Unauthorized
	done(err)
	g.tripNow = false
	if g.breaker.State() == gobreaker.StateClosed {
		return
	}
	g.why = err
	g.log.Warn("pausing: the gateway cannot be used", "err", err)
	g.onState(false, reason(err))
	g.announce()
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

func reason(err error) string {
	if gateway.FateOf(err) == gateway.Unauthorized {
		return "credentials"
	}
	return "outage"
}

// holdUntil pauses every call until t. A shorter hold never cuts a longer one.
func (g *gate) holdUntil(t time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !t.After(g.hold) {
		return
	}
	g.hold = t
	g.onHold(t)
	g.announce()
}

// pauseOf returns how long the gateway asks to be left alone, 0 where it does not.
// What is said of one order says nothing about the next.
func pauseOf(err error) time.Duration {
	e, ok := errors.AsType[*gateway.Error](err)
	if !ok || e.RetryAfter <= 0 && e.Fate != gateway.Throttled || e.Fate == gateway.Refused || e.Fate == gateway.NotFound {
		return 0
	}
	return max(e.RetryAfter, time.Second)
}

// run probes whenever the gate is shut, until ctx is done. A pause that the gateway
// asked for is meant for probes too.
func (g *gate) run(ctx context.Context) {
	for {
		pause := backoff{first: probeFirst, max: probeMax}
		for {
			g.mu.Lock()
			shut := !g.ready || g.breaker.State() != gobreaker.StateClosed
			_, hold, _ := g.state(time.Now())
			g.mu.Unlock()
			if !shut {
				break
			}
			if hold > 0 {
				if sleep(ctx, hold) != nil {
					return
				}
				continue
			}
			if g.try(ctx) {
				break
			}
			if sleep(ctx, pause.next()) != nil {
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-g.wake:
			// Whoever refused the last call deserves a moment before the probe.
			if sleep(ctx, probeFirst) != nil {
				return
			}
		}
	}
}

// try makes one probe and opens the gate when the gateway answers it.
func (g *gate) try(ctx context.Context) bool {
	call, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	err := g.probe(call)
	if ctx.Err() != nil {
		return false // what a stop cuts off says nothing of the gateway
	}
	if wait := pauseOf(err); wait > 0 {
		g.onPause(ctx, wait, err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil {
		if !g.ready || g.why == nil || g.why.Error() != err.Error() {
			g.log.Warn("the gateway does not answer; requests wait", "err", err)
		}
		g.why = err
		g.onState(false, reason(err))
		return false
	}
	if g.breaker.State() != gobreaker.StateClosed {
		done, err := g.breaker.Allow()
		if err != nil {
			return false
		}
		done(nil)
	}
	g.ready, g.why = true, nil
	g.log.Info("the gateway answers; working")
	g.onState(true, "")
	g.announce()
	return true
}
