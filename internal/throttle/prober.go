package throttle

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	// firstProbe and lastProbe bound the wait between two probes of a gateway that does
	// not answer. probeTime bounds one probe.
	firstProbe = time.Second
	lastProbe  = 30 * time.Second
	probeTime  = 35 * time.Second
)

var errNotProbed = errors.New("the gateway has not answered yet")

// Prober tracks the gateway as a whole. The gateway is not ready until it answers the
// first probe. After it refuses the worker's credentials, it is not ready until it
// answers the next one. Safe for concurrent use.
type Prober struct {
	probe func(context.Context) error
	stops *Stops
	news  queue[ProberChange]

	mu      sync.Mutex
	ready   bool
	epoch   uint64 // changes when the gateway stops being ready
	cause   error
	since   time.Time // start of the time without readiness
	changed broadcast
	wake    chan struct{}
}

// ProberChange reports a gateway that is ready again, or that is not ready for another
// cause.
type ProberChange struct {
	Ready  bool
	Cause  error         // while not ready
	Lasted time.Duration // how long the gateway was not ready, if Ready
}

// NewProber returns a prober whose gateway is not ready yet. probe sends the gateway a
// harmless request. If the gateway asks for a pause, probe itself pauses stops. onChange
// receives each change once, in order; it must not block, and nil is allowed.
func NewProber(probe func(context.Context) error, stops *Stops, onChange func(ProberChange)) *Prober {
	return &Prober{
		probe: probe, stops: stops, news: queue[ProberChange]{tell: onChange},
		cause: errNotProbed, since: time.Now(), wake: make(chan struct{}, 1),
	}
}

// Ready reports whether calls may be made, and if not, why.
func (p *Prober) Ready() (ready bool, cause error) {
	ready, _, cause = p.state()
	return ready, cause
}

func (p *Prober) state() (ready bool, epoch uint64, cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ready, p.epoch, p.cause
}

// Wake probes a gateway that is not ready at once, for example after a new key pair. It
// does nothing if the gateway is ready. A pause stays in force.
func (p *Prober) Wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ready {
		return
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// shut stops all calls, unless the gateway was probed again since the failed call was
// admitted. epoch is that of the call's permit.
func (p *Prober) shut(epoch uint64, cause error) {
	defer p.news.drain()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ready || p.epoch != epoch {
		return
	}
	p.ready, p.cause, p.since = false, cause, time.Now()
	p.epoch++
	p.news.push(ProberChange{Cause: cause})
	p.changed.send()
}

// Run probes the gateway while it is not ready, until ctx ends.
func (p *Prober) Run(ctx context.Context) {
	for {
		shut := p.changed.next()
		if ready, epoch, _ := p.state(); !ready {
			// The gateway has just refused a call: wait before the first probe.
			if epoch > 0 && p.rest(ctx, firstProbe) != nil {
				return
			}
			if p.untilReady(ctx) != nil {
				return
			}
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-shut:
		}
	}
}

// untilReady probes until the gateway answers.
func (p *Prober) untilReady(ctx context.Context) error {
	for wait := firstProbe; ; wait = min(2*wait, lastProbe) {
		if err := p.stops.WaitPause(ctx); err != nil {
			return err
		}
		if p.step(ctx) {
			return nil
		}
		if err := p.rest(ctx, wait); err != nil {
			return err
		}
	}
}

// step makes one probe and reports whether the gateway answered it.
func (p *Prober) step(ctx context.Context) bool {
	call, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	err := p.probe(call)
	if ctx.Err() != nil {
		return false // a probe that the worker's stop cuts off shows nothing
	}
	defer p.news.drain()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		if p.cause.Error() != err.Error() {
			p.news.push(ProberChange{Cause: err})
		}
		p.cause = err
		return false
	}
	p.ready, p.cause = true, nil
	select {
	case <-p.wake:
	default:
	}
	p.news.push(ProberChange{Ready: true, Lasted: time.Since(p.since)})
	p.changed.send()
	return true
}

// rest waits for d, for Wake, or for the end of ctx. It returns an error only if ctx
// ended.
func (p *Prober) rest(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-p.wake:
	case <-t.C:
	}
	return nil
}
