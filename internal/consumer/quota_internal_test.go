package consumer

import (
	"testing"
	"time"
)

func TestQuotaSpreadsRequests(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	q := newQuota()
	// One minute's requests at once, then one in each interval.
	for i := range 63 {
		after, ok := q.reserve("shop", 60, now)
		if want := max(time.Duration(i-59)*time.Second, 0); !ok || after != want {
			t.Fatalf("request %d waits for %s (%v), want %s", i, after, ok, want)
		}
	}
	if after, _ := q.reserve("bank", 60, now); after != 0 {
		t.Errorf("another producer waits for %s", after)
	}
	q.release("shop", 60)
	if after, _ := q.reserve("shop", 60, now); after != 3*time.Second {
		t.Errorf("after a turn was given back: %s, want 3s", after)
	}
	if after, _ := q.reserve("shop", 60, now.Add(10*time.Minute)); after != 0 {
		t.Errorf("after a rest: %s", after)
	}
}

func TestQuotaIsShared(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	q := newQuota()
	q.setWorkers(4)
	for i := range 3 {
		after, ok := q.reserve("slow", 2, now)
		if want := time.Duration(i) * 2 * time.Minute; !ok || after != want {
			t.Errorf("request %d waits for %s (%v), want %s", i, after, ok, want)
		}
	}
}

func TestQuotaRefusesWhatWaitsTooLong(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	q := newQuota()
	n := 0
	for ; n < 20_000; n++ {
		if _, ok := q.reserve("shop", 600, now); !ok {
			break
		}
	}
	if n != 600+maxDeferred {
		t.Errorf("%d requests are taken, want %d at once and %d that wait", n, 600, maxDeferred)
	}
	if _, ok := q.reserve("shop", 600, now); ok {
		t.Error("one more is taken")
	}
}
