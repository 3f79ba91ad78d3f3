package throttle

import (
	"context"
	"sync"
	"time"
)

// MaxPause caps a pause, whoever asked for it.
const MaxPause = time.Hour

// Pause is the wait that the gateway asked for. It runs on the monotonic clock. The zero
// value is no pause and ready to use. Safe for concurrent use.
type Pause struct {
	mu      sync.Mutex
	until   time.Time
	changed broadcast
}

// Extend makes the pause last for d from now at least, and at most MaxPause. It never
// shortens it. It reports whether it changed anything.
func (p *Pause) Extend(d time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	until := time.Now().Add(min(d, MaxPause))
	if d <= 0 || !until.After(p.until) {
		return false
	}
	p.until = until
	p.changed.send()
	return true
}

// End ends the pause now.
func (p *Pause) End() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.until = time.Time{}
	p.changed.send()
}

// Until returns when the pause ends, on this host's clock; zero where there is none.
func (p *Pause) Until() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !time.Now().Before(p.until) {
		return time.Time{}
	}
	return p.until
}

// Left returns how long the pause still lasts; 0 where there is none.
func (p *Pause) Left() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(0, time.Until(p.until))
}

// Wait returns at the end of the pause, at once where there is none, or with the cause of
// ctx.
func (p *Pause) Wait(ctx context.Context) error {
	for {
		changed := p.changed.next()
		left := p.Left()
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
