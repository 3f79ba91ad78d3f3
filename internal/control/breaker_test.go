package control

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestCanaryIntervals(t *testing.T) {
	t.Parallel()
	want := []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300}
	for n, w := range want {
		if got := intervalOf(n); got != w*time.Second {
			t.Errorf("after canary %d: %s, want %s", n, got, w*time.Second)
		}
	}
	if got := intervalOf(1 << 40); got != MaxInterval {
		t.Errorf("after very many: %s", got)
	}
}

func TestBreakerRecords(t *testing.T) {
	t.Parallel()
	strange := "a CA: with/anything.in it"
	for _, tc := range []struct {
		name, key, value string
		ok               bool
		interval         time.Duration
	}{
		{"open", "breaker.enroll.ca-1", `{"state":"open","ca":"ca-1","opening":"x","interval":"4s"}`, true, 4 * time.Second},
		{"a name that is no token", "breaker.enroll." + token(strange), `{"state":"closed","ca":"` + strange + `","opening":"x","interval":"4s"}`, true, 4 * time.Second},
		{"an interval without end", "breaker.enroll.ca-1", `{"state":"open","ca":"ca-1","opening":"x","interval":"9000h"}`, true, MaxInterval},
		{"a negative interval", "breaker.enroll.ca-1", `{"state":"open","ca":"ca-1","opening":"x","interval":"-1s"}`, true, FirstInterval},
		{"of another CA", "breaker.enroll.ca-2", `{"state":"open","ca":"ca-1","opening":"x"}`, false, 0},
		{"an unknown state", "breaker.enroll.ca-1", `{"state":"ajar","ca":"ca-1","opening":"x"}`, false, 0},
		{"without an opening", "breaker.enroll.ca-1", `{"state":"open","ca":"ca-1"}`, false, 0},
		{"rubbish", "breaker.enroll.ca-1", `rubbish`, false, 0},
	} {
		r, ok := breakerOf(tc.key, []byte(tc.value))
		if ok != tc.ok || time.Duration(r.Interval) != tc.interval {
			t.Errorf("%s: %+v, %v; want %v and %s", tc.name, r, ok, tc.ok, tc.interval)
		}
	}
}

// The fleet has one opening, one canary an interval, and one closing. The interval
// continues after the ramp-up.
func TestBreakerIsTheFleets(t *testing.T) {
	t.Parallel()
	const op, ca = "enroll", "CN=Issuing CA 1, O=Example"
	server, kv := newBus(t)
	ctx := t.Context()
	fleet := []*Bucket{worker(server.JetStream(t), "a"), worker(server.JetStream(t), "b")}
	a, b := fleet[0], fleet[1]
	var seen news
	run(t, b, seen.handlers())

	opening, wait, err := a.OpenBreaker(ctx, op, ca, doublings, "500")
	if err != nil || opening == "" || wait != FirstInterval {
		t.Fatalf("opening: %q, %s, %v", opening, wait, err)
	}
	eventually(t, "the opening at b", seen.has(func() bool { return seen.opened[op+" "+ca] == opening }))
	if again, wait, err := b.OpenBreaker(ctx, op, ca, doublings, "500"); again != opening || wait > FirstInterval || err != nil {
		t.Errorf("a second worker opened it as %q, not %q: %s, %v", again, opening, wait, err)
	}

	interval := FirstInterval
	for canary := range 2 {
		var taken atomic.Int32
		eventually(t, fmt.Sprint("canary ", canary), func() bool {
			var calls sync.WaitGroup
			for _, w := range fleet {
				for p := range 4 {
					calls.Go(func() {
						ok, name, next, err := w.TakeCanary(ctx, op, ca, fmt.Sprint("producer", p))
						switch {
						case err != nil || name != opening:
							t.Errorf("canary of opening %q, want %q: %v", name, opening, err)
						case ok && next != 2*interval:
							t.Errorf("the next canary has to wait for %s, want %s", next, 2*interval)
						case ok:
							taken.Add(1)
						case next <= 0 || next > 2*interval:
							t.Errorf("a refused canary has to wait for %s", next)
						}
					})
				}
			}
			calls.Wait()
			return taken.Load() > 0
		})
		if taken.Load() != 1 {
			t.Fatalf("%d canaries at once", taken.Load())
		}
		interval *= 2
	}

	must(t, a.CloseBreaker(ctx, op, ca, "another opening"))
	if still, _, err := b.OpenBreaker(ctx, op, ca, doublings, "500"); still != opening || err != nil {
		t.Errorf("a closing of another opening closed this one: %q, %v", still, err)
	}
	must(t, b.CloseBreaker(ctx, op, ca, opening))
	eventually(t, "the closing at b", seen.has(func() bool { return seen.closed[op+" "+ca] == opening }))
	if ok, name, next, err := a.TakeCanary(ctx, op, ca, "shop"); ok || name != opening || next != 0 || err != nil {
		t.Errorf("a canary of a closed breaker: %v, %q, %s, %v", ok, name, next, err)
	}

	second, wait, err := a.OpenBreaker(ctx, op, ca, 1, "500")
	if err != nil || second == opening || wait != interval/2 {
		t.Errorf("opened during the second step of a ramp-up: the canary waits for %s, want %s; %v", wait, interval/2, err)
	}
	must(t, a.CloseBreaker(ctx, op, ca, second))
	if _, wait, err := a.OpenBreaker(ctx, op, ca, doublings, "500"); err != nil || wait != FirstInterval {
		t.Errorf("opened later: the canary waits for %s, want %s; %v", wait, FirstInterval, err)
	}

	must(t, kv.Delete(ctx, a.breakerKey(op, ca)))
	eventually(t, "the removal at b", seen.has(func() bool { name, ok := seen.closed[op+" "+ca]; return ok && name == "" }))
	put(t, kv, a.breakerKey(op, ca), "rubbish")
	if _, wait, err := b.OpenBreaker(ctx, op, ca, doublings, "500"); err != nil || wait != FirstInterval {
		t.Errorf("opening over rubbish: %s, %v", wait, err)
	}
}

// Without the bucket there is no canary. When the bucket is back, a canary comes one
// interval later.
func TestNoCanaryWithoutTheBucket(t *testing.T) {
	t.Parallel()
	server, _ := newBus(t)
	js := server.JetStream(t)
	a := worker(js, "a")
	_, _, err := a.OpenBreaker(t.Context(), "poll", "ca-1", doublings, "500")
	must(t, err)
	must(t, js.DeleteKeyValue(t.Context(), bucket))
	if taken, _, _, err := a.TakeCanary(t.Context(), "poll", "ca-1", "shop"); taken || err == nil {
		t.Fatalf("a canary without a bucket: %v, %v", taken, err)
	}
	provision(t, js)
	if taken, opening, next, err := a.TakeCanary(t.Context(), "poll", "ca-1", "shop"); taken || opening == "" || next != FirstInterval || err != nil {
		t.Errorf("in a new bucket: taken %v, opening %q, next %s, %v", taken, opening, next, err)
	}
	eventually(t, "a canary", func() bool {
		taken, _, _, err := a.TakeCanary(t.Context(), "poll", "ca-1", "shop")
		must(t, err)
		return taken
	})
}

// A lost acknowledgement neither doubles a write nor hides it.
func TestLostAcknowledgement(t *testing.T) {
	t.Parallel()
	server, js := newFreezable(t)
	a := worker(js, "a")
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	m := Message{Stream: "ENTRUST_REQUESTS", Sequence: 7, Stored: time.Unix(1, 0)}
	last, err := a.read(ctx, m.key())
	must(t, err)

	// The write is sent twice before the server reads either.
	server.Freeze(true)
	thaw := time.AfterFunc(tryTime+tryTime/4, func() { server.Freeze(false) })
	defer thaw.Stop()
	revision, err := a.write(ctx, m.key(), last.revision, []byte(`{"tries":1}`), 0)
	if err != nil {
		t.Fatalf("a write that was stored ended as %v", err)
	}
	now, err := a.read(ctx, m.key())
	if err != nil || now.revision != revision || string(now.data) != `{"tries":1}` {
		t.Errorf("the bucket holds %q at %d, %v; the write said %d", now.data, now.revision, err, revision)
	}
	if _, err := a.write(ctx, m.key(), last.revision, []byte(`{}`), 0); !errors.Is(err, ErrConflict) {
		t.Errorf("a write over an old revision ended as %v", err)
	}
}
