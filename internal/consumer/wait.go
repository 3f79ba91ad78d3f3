package consumer

import (
	"context"
	"time"
)

// sleep waits for d. When ctx ends first, it returns the cause of ctx.
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

// backoff doubles a wait up to max. The zero value never waits.
type backoff struct{ first, max, last time.Duration }

func (b *backoff) next() time.Duration {
	if b.last == 0 {
		b.last = b.first
	} else {
		b.last = min(2*b.last, b.max)
	}
	return b.last
}

func (b *backoff) reset() { b.last = 0 }
