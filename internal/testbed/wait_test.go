package testbed

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A wait ends with the cause of its context and the last error of done.
func TestUntil(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		errLate, errStill := errors.New("late"), errors.New("still there")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errLate)
		defer cancel()
		calls := 0
		err := UntilEvery(ctx, 300*time.Millisecond, "it is gone", func() (bool, error) { calls++; return false, errStill })
		if !errors.Is(err, errLate) || !errors.Is(err, errStill) || calls != 4 {
			t.Errorf("%d calls, %v; want 4, and both reasons", calls, err)
		}
		if err := Until(ctx, "it is there", func() (bool, error) { return true, errStill }); err != nil {
			t.Errorf("what is there already: %v", err)
		}
		begun := time.Now()
		if err := Sleep(t.Context(), time.Hour); err != nil || time.Since(begun) != time.Hour {
			t.Errorf("slept %v, %v; want an hour", time.Since(begun), err)
		}
	})
}
