package watchdog

import (
	"context"
	"errors"
	"iter"
	"testing"
	"testing/synctest"
	"time"
)

// ticking takes a millisecond of a bubble's clock for each value.
func ticking(n int) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for i := range n {
			time.Sleep(time.Millisecond)
			if !yield(i, nil) {
				return
			}
		}
	}
}

// Reading takes a tenth of the time, and the handling of a value is not slowed down.
func TestSlowly(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		values int
		each   time.Duration // what the caller does with a value
		want   time.Duration
	}{
		{"too few for a rest", restEvery - 1, 0, (restEvery - 1) * time.Millisecond},
		{"one rest", restEvery, 0, 10 * restEvery * time.Millisecond},
		{"a rest and a bit", restEvery + 1, 0, (10*restEvery + 1) * time.Millisecond},
		{"many", 20 * restEvery, 0, 20 * 10 * restEvery * time.Millisecond},
		{"a slow caller", 2 * restEvery, time.Second, 2 * restEvery * (10*time.Millisecond + time.Second)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun, n := time.Now(), 0
				for v, err := range slowly(t.Context(), ticking(tc.values)) {
					if err != nil || v != n {
						t.Fatalf("value %d is %d, %v", n, v, err)
					}
					n++
					time.Sleep(tc.each)
				}
				if took := time.Since(begun); n != tc.values || took != tc.want {
					t.Errorf("%d values in %v, want %d in %v", n, took, tc.values, tc.want)
				}
			})
		})
	}
}

// A stop does not wait for the end of a rest.
func TestSlowlyStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gone := errors.New("gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		begun := time.Now()
		time.AfterFunc((restEvery+1)*time.Millisecond, func() { cancel(gone) })
		n := 0
		var last error
		for _, err := range slowly(ctx, ticking(3*restEvery)) {
			if last = err; err == nil {
				n++
			}
		}
		if took := time.Since(begun); n != restEvery || !errors.Is(last, gone) || took != (restEvery+1)*time.Millisecond {
			t.Errorf("%d values, then %v after %v", n, last, took)
		}
	})
}

// An error does not end the reading by itself, and a caller may stop.
func TestSlowlyPassesOn(t *testing.T) {
	t.Parallel()
	odd := errors.New("odd")
	seq := func(yield func(int, error) bool) {
		_ = yield(1, nil) && yield(0, odd) && yield(3, nil) && yield(4, nil)
	}
	var got []int
	for v, err := range slowly(t.Context(), iter.Seq2[int, error](seq)) {
		if err != nil && !errors.Is(err, odd) {
			t.Fatal(err)
		}
		if got = append(got, v); v == 3 {
			break
		}
	}
	if len(got) != 3 || got[1] != 0 {
		t.Errorf("got %v", got)
	}
}
