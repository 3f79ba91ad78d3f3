package testbed

import (
	"context"
	"fmt"
	"time"
)

// Sleep waits for d. If ctx ends first, it returns the cause of ctx.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// Until waits until done returns true. It calls done every 50 ms. If ctx ends first,
// Until returns the cause of ctx with done's last error.
func Until(ctx context.Context, what string, done func() (bool, error)) error {
	return UntilEvery(ctx, 50*time.Millisecond, what, done)
}

// UntilEvery is Until with another interval between two calls of done.
func UntilEvery(ctx context.Context, every time.Duration, what string, done func() (bool, error)) error {
	for {
		yes, err := done()
		if yes {
			return nil
		}
		switch cause := Sleep(ctx, every); {
		case cause != nil && err != nil:
			return fmt.Errorf("waiting until %s: %w (last: %w)", what, cause, err)
		case cause != nil:
			return fmt.Errorf("waiting until %s: %w", what, cause)
		}
	}
}
