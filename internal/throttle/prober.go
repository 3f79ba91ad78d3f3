package throttle

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	// firstProbe and lastProbe bound the pause between two probes of a gateway that
	// does not answer; probeTime bounds one probe.
	firstProbe = time.Second
	lastProbe  = 30 * time.Second
	probeTime  = 35 * time.Second
)

var errNotProbed = errors.New("the gateway has not answered yet")

// Prober is the state of the gateway as a whole. It is shut until the first probe is
// answered, and again from refused credentials until the next one is. Safe for
// concurrent use.
type Prober struct {
	probe func(context.Context) error
	stops *Stops
	news  queue[ProberChange]

	mu      sync.Mutex
	ready   bool
	epoch   uint64 // changes whenever the gateway is shut
	cause   error
	since   time.Time // it is shut
	changed broadcast
	wake    chan struct{}
}

// ProberChange is a gateway that answers again, or that is shut for another cause.
type ProberChange struct {
	Ready  bool
	Cause  error         // while shut
	Lasted time.Duration // how long it was shut, where it is ready
}

// NewProber returns a prober that is shut. probe asks the gateway for something harmless;
// it pauses stops itself where the gateway asks for one. onChange is told of each
// change, in order, once; nil: nothing is. It must not block.
func NewProber(probe func(context.Context) error, stops *Stops, onChange func(ProberChange)) *Prober {
	return &Prober{
		probe: probe, stops: stops, news: queue[ProberChange]{tell: onChange},
		cause: errNotProbed, since: time.Now(), wake: make(chan struct{}, 1),
	}
}

// Ready reports whether calls may be made, and why not.
func (p *Prober) Ready() (ready bool, cause error) {
	ready, _, cause = p.state()
	return ready, cause
}

func (p *Prober) state() (ready bool, epoch uint64, cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ready, p.epoch, p.cause
}

// Wake has a shut gateway probed at once, as after a new key pair. It does nothing where
// the gateway is ready. A pause is kept.
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

// shut closes the gateway for every call, unless it was shut and probed since the call
// that shows the cause was admitted.
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

// Run probes the gateway whenever it is shut, until ctx is done.
func (p *Prober) Run(ctx context.Context) {
	for {
		shut := p.changed.next()
		if ready, epoch, _ := p.state(); !ready {
			// A gateway that has just refused a call deserves a moment.
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
		return false // a probe that a stop cuts off says nothing
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

// rest waits for d, for Wake, or for the end of ctx, and then returns its cause.
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
