package throttle

import (
	"context"
	"sync"

	"golang.org/x/time/rate"
)

// Caller is the purpose of a call.
type Caller int

const (
	// ForRequest is a call for a new request.
	ForRequest Caller = iota
	// ForPoll is a call for an order that the gateway has accepted.
	ForPoll
	// ForRevocation is a call for a revocation.
	ForRevocation
)

// Rate bounds the calls a second of this worker. Revocations may use all of it, requests
// and polls four fifths, so that a backlog of enrollments leaves room for a revocation.
// Requests and polls take turns, however many of either wait. Safe for concurrent use.
type Rate struct {
	own, fleet float64

	mu      sync.Mutex
	all     *rate.Limiter // nil: no limit
	reserve *rate.Limiter // the part that requests and polls share

	// One call of each caller at a time waits for a token.
	turns [ForRevocation]chan struct{}
}

// NewRate returns a rate of own calls a second for this worker, and fleet calls a second
// for all workers together. 0 means no limit. Until SetWorkers is called, the fleet
// counts as one worker.
func NewRate(own, fleet float64) *Rate {
	r := &Rate{own: own, fleet: fleet}
	for i := range r.turns {
		r.turns[i] = make(chan struct{}, 1)
	}
	r.SetWorkers(1)
	return r
}

// SetWorkers sets the number of live workers, which share the fleet's rate in equal
// parts. The part of an idle worker stays unused, so the gateway never gets more than the
// fleet's rate.
func (r *Rate) SetWorkers(n int) {
	perSecond := r.own
	if r.fleet > 0 {
		perSecond = r.fleet / float64(max(1, n))
		if r.own > 0 {
			perSecond = min(perSecond, r.own)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if perSecond <= 0 {
		return // both are 0, and never change
	}
	if r.all == nil {
		r.all, r.reserve = rate.NewLimiter(0, 1), rate.NewLimiter(0, 1)
	}
	burst := max(1, int(perSecond/10))
	r.all.SetLimit(rate.Limit(perSecond))
	r.all.SetBurst(burst)
	r.reserve.SetLimit(rate.Limit(perSecond * 0.8))
	r.reserve.SetBurst(burst)
}

// PerSecond returns the calls a second that this worker may make; 0 means no limit.
func (r *Rate) PerSecond() float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil {
		return 0
	}
	return float64(r.all.Limit())
}

// Wait returns when one call may be made. It returns the cause of ctx if ctx ends first.
// If the deadline of ctx is earlier than the call's turn, it returns an error at once.
func (r *Rate) Wait(ctx context.Context, c Caller) error {
	r.mu.Lock()
	all, reserve := r.all, r.reserve
	r.mu.Unlock()
	if all == nil {
		return context.Cause(ctx)
	}
	if c != ForRevocation {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case r.turns[c] <- struct{}{}:
		}
		err := reserve.Wait(ctx)
		<-r.turns[c]
		if err != nil {
			return causeOf(ctx, err)
		}
	}
	return causeOf(ctx, all.Wait(ctx))
}

func causeOf(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
