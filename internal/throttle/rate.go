package throttle

import (
	"context"
	"sync"

	"golang.org/x/time/rate"
)

// Caller is what a call is made for.
type Caller int

const (
	// ForRequest is a call for a new request.
	ForRequest Caller = iota
	// ForPoll is a call for an order that waits.
	ForPoll
	// ForRevocation is a call for a revocation.
	ForRevocation
)

// Rate bounds the calls a second that this worker makes. Revocations may use all of
// it, the others four fifths, so that a backlog of enrollments leaves room for a
// revocation; requests and polls take turns, however many of either there are. Safe for
// concurrent use.
type Rate struct {
	own, fleet float64

	mu      sync.Mutex
	all     *rate.Limiter // nil: no limit
	reserve *rate.Limiter // what requests and polls share of it

	// One call of each caller at a time queues for a token.
	turns [ForRevocation]chan struct{}
}

// NewRate returns a rate of own calls a second of this worker, and fleet calls a second
// of all workers together. 0 is no limit. Until SetWorkers is called there is one
// worker.
func NewRate(own, fleet float64) *Rate {
	r := &Rate{own: own, fleet: fleet}
	for i := range r.turns {
		r.turns[i] = make(chan struct{}, 1)
	}
	r.SetWorkers(1)
	return r
}

// SetWorkers sets how many live workers share the fleet's rate, in equal parts. An idle
// worker leaves its part unused, and the gateway never gets more than the whole.
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
		return // both are 0, and stay so
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

// PerSecond returns the calls a second that this worker may make; 0 is no limit.
func (r *Rate) PerSecond() float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil {
		return 0
	}
	return float64(r.all.Limit())
}

// Wait returns when one call may be made. It returns the cause of ctx where that is done
// first, and an error at once where the deadline of ctx is earlier than the call's turn.
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
