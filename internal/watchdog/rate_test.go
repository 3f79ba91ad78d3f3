package watchdog

import (
	"context"
	"errors"
	"iter"
	"testing"
	"testing/synctest"
	"time"
)

// ticking takes a thousandth of a second of a bubble's clock for each value.
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

// Reading takes a tenth of the time, and what is done with a value is not slowed
// down.
func TestSlowly(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		values int
		each   time.Duration // what the caller does with a value
		want   time.Duration
	}{
		{"too few for a rest", paceEvery - 1, 0, (paceEvery - 1) * time.Millisecond},
		{"one rest", paceEvery, 0, 10 * paceEvery * time.Millisecond},
		{"a rest and a bit", paceEvery + 1, 0, (10*paceEvery + 1) * time.Millisecond},
		{"many", 20 * paceEvery, 0, 20 * 10 * paceEvery * time.Millisecond},
		{"a slow caller", 2 * paceEvery, time.Second, 2 * paceEvery * (10*time.Millisecond + time.Second)},
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
		time.AfterFunc((paceEvery+1)*time.Millisecond, func() { cancel(gone) })
		n := 0
		var last error
		for _, err := range slowly(ctx, ticking(3*paceEvery)) {
			if last = err; err == nil {
				n++
			}
		}
		if took := time.Since(begun); n != paceEvery || !errors.Is(last, gone) || took != (paceEvery+1)*time.Millisecond {
			t.Errorf("%d values, then %v after %v", n, last, took)
		}
	})
}

// An error ends nothing by itself, and a caller that has enough gets no more.
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
