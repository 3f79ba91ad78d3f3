package control

import (
	"regexp"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

func TestClockBounds(t *testing.T) {
	t.Parallel()
	t0 := time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC) // the host's
	s0 := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) // the server's
	at := func(d time.Duration) time.Time { return t0.Add(d) }
	type sample struct{ sent, acked, stored time.Duration }
	for _, tc := range []struct {
		name      string
		samples   []sample
		want      time.Duration // server time after s0, at the last acknowledgement
		halfWidth time.Duration
	}{
		{"half a round trip", []sample{{0, 100, 40}}, 90, 50},
		{"a shorter one narrows", []sample{{0, 100, 40}, {1000, 1020, 1010}}, 1020, 10},
		{"a longer one changes nothing", []sample{{1000, 1020, 1010}, {2000, 3000, 2500}}, 3000, 10},
		{"two that overlap", []sample{{0, 100, 0}, {1000, 1100, 1060}}, 1080, 20}, // 1000 to 1100, and 1060 to 1160
		{"the server's clock was set back", []sample{{0, 20, 10}, {1000, 1020, 500}}, 510, 10},
		{"the server's clock was set forward", []sample{{0, 20, 10}, {1000, 1020, 9000}}, 9010, 10},
	} {
		var c Clock
		for _, s := range tc.samples {
			c.measured(at(s.sent), at(s.acked), s0.Add(s.stored))
		}
		last := at(tc.samples[len(tc.samples)-1].acked)
		got, ok := c.at(last)
		low, high := c.last.on(last)
		if !ok || got.Sub(s0) != tc.want || high.Sub(low)/2 != tc.halfWidth {
			t.Errorf("%s: server time is %d ± %d, want %d ± %d", tc.name, got.Sub(s0), high.Sub(low)/2, tc.want, tc.halfWidth)
		}
		if later, _ := c.at(last.Add(time.Hour)); later.Sub(got) != time.Hour {
			t.Errorf("%s: an hour later it is %s later", tc.name, later.Sub(got))
		}
	}
	if _, ok := new(Clock).Now(); ok {
		t.Error("a clock that was never measured tells the time")
	}
	if _, _, ok := new(Clock).Skew(); ok {
		t.Error("a clock that was never measured tells its skew")
	}
}

// For all round trips and clock differences, the true server time is within half the
// shortest round trip since the server's clock was last set.
func TestClockIsRightWithinTheShortestRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var c Clock
		ms := func(max int, what string) time.Duration {
			return time.Duration(rapid.IntRange(0, max).Draw(t, what)) * time.Millisecond
		}
		now := time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)
		offset := ms(1<<40, "offset") - 1<<39*time.Millisecond
		shortest := time.Duration(1 << 62)
		for range rapid.IntRange(1, 20).Draw(t, "samples") {
			now = now.Add(ms(120_000, "pause"))
			there, back := ms(5000, "there"), ms(5000, "back")
			stored := now.Add(there).Add(offset)
			c.measured(now, now.Add(there+back), stored)
			now = now.Add(there + back)
			shortest = min(shortest, there+back)
			got, _ := c.at(now)
			if off := got.Sub(now.Add(offset)).Abs(); off > shortest/2 {
				t.Fatalf("server time is off by %s after round trips of at least %s", off, shortest)
			}
		}
	})
}

// A worker whose host clock shows the year 2000 shares pauses, leases and canaries with a
// worker whose clock is right. The bubble's clock stands still too, so all ages that it
// reads are by the server's clock.
func TestWorkerWithAWrongHostClock(t *testing.T) {
	t.Parallel()
	server, kv := newBus(t)
	right := worker(server.JetStream(t), "right")
	must(t, right.appear(t.Context()))
	must(t, right.Pause(t.Context(), time.Minute))
	if got, _, err := right.WatchdogLease().Acquire(t.Context(), time.Hour); !got || err != nil {
		t.Fatalf("acquiring the lease: %v, %v", got, err)
	}
	_, _, err := right.OpenBreaker(t.Context(), "enroll", "ca-1", doublings, "500")
	must(t, err)
	begun := time.Now()
	time.Sleep(FirstInterval) // only the server's clock passes it

	synctest.Test(t, func(t *testing.T) {
		nc, err := server.Connect()
		must(t, err)
		defer nc.Close()
		wrong := worker(mustJetStream(t, nc), "wrong")
		must(t, wrong.appear(t.Context()))
		skew, _, ok := wrong.clock.Skew()
		if years := skew.Hours() / 24 / 365; !ok || years < 20 {
			t.Errorf("the skew is %.1f years (%v), the host's clock says %s", years, ok, time.Now())
		}
		e, err := wrong.read(t.Context(), wrong.pause)
		must(t, err)
		if left := pauseLeft(e.data, e.age); left <= 0 || left > time.Minute-FirstInterval {
			t.Errorf("%s are left of a pause of a minute that began over a second ago", left)
		}
		if got, wait, err := wrong.WatchdogLease().Acquire(t.Context(), time.Hour); got || wait <= 0 || wait > time.Hour-FirstInterval || err != nil {
			t.Errorf("another worker's lease: acquired %v, to wait for %s, %v", got, wait, err)
		}
		if taken, _, next, err := wrong.TakeCanary(t.Context(), "enroll", "ca-1", "shop"); !taken || next != 2*FirstInterval || err != nil {
			t.Errorf("a canary that was due: taken %v, next %s, %v", taken, next, err)
		}
		must(t, wrong.Pause(t.Context(), 10*time.Minute)) // a 429 that it got
	})

	e, err := right.read(t.Context(), right.pause)
	must(t, err)
	if left := pauseLeft(e.data, e.age); left > 10*time.Minute || left < 10*time.Minute-time.Since(begun) {
		t.Errorf("%s are left of a pause of 10 minutes", left)
	}
	instant := regexp.MustCompile(`\d{4}-\d{2}-\d{2}`)
	keys, err := kv.ListKeys(t.Context())
	must(t, err)
	for key := range keys.Keys() {
		v, err := kv.Get(t.Context(), key)
		must(t, err)
		if instant.Match(v.Value()) {
			t.Errorf("%s holds an instant: %s", key, v.Value())
		}
	}
}

// A requested measurement shows that the server's clock was set since the last one.
// Concurrent callers share it.
func TestMeasureClock(t *testing.T) {
	t.Parallel()
	server, _ := newBus(t)
	b := worker(server.JetStream(t), "w1")
	now := time.Now()
	b.took(now, now, now.Add(-time.Hour)) // since then the server's clock was set an hour forward
	before := b.js.Conn().Stats().OutMsgs
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if err := b.MeasureClock(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	skew, _, ok := b.clock.Skew()
	if !ok || skew.Abs() > time.Second {
		t.Errorf("the skew is %s (%v)", skew, ok)
	}
	if sent := b.js.Conn().Stats().OutMsgs - before; sent > 60 {
		t.Errorf("50 callers at once sent %d messages", sent)
	}
}
