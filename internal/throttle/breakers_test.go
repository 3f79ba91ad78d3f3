package throttle

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

const ca = "ca-1"

// inFleet runs a test in a bubble with n workers of one fleet that know ca-1.
func inFleet(t *testing.T, n int, test func(t *testing.T, f *fleet, w []*worker)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := new(fleet)
		var all []*worker
		for range n {
			all = append(all, f.join(t.Context(), ca))
		}
		test(t, f, all)
	})
}

func TestWhatOpensABreaker(t *testing.T) {
	type run struct {
		producer string
		n        int
		outcome  Outcome
	}
	for _, tc := range []struct {
		name   string
		runs   []run
		want   State
		slowed int
	}{
		{"four in a row", []run{{"a", 4, Bad(errDown)}}, Closed, 0},
		{"five in a row", []run{{"a", 5, Bad(errDown)}}, Open, 0},
		{"five with a good one between", []run{{"a", 4, Bad(errDown)}, {"a", 1, Good()}, {"a", 4, Bad(errDown)}}, Closed, 0},
		{"five with one between that says nothing", []run{{"a", 4, Bad(errDown)}, {"a", 3, None()}, {"a", 1, Bad(errDown)}}, Open, 0},
		{"30 % of 20", []run{{"a", 14, Good()}, {"a", 3, Bad(errDown)}, {"a", 1, Good()}, {"a", 3, Bad(errDown)}}, Open, 0},
		{"30 % of fewer", []run{{"a", 4, Good()}, {"a", 3, Bad(errDown)}, {"a", 1, Good()}, {"a", 3, Bad(errDown)}}, Closed, 0},
		{"25 % of 20", []run{{"a", 15, Good()}, {"a", 3, Bad(errDown)}, {"a", 10, Good()}, {"a", 2, Bad(errDown)}, {"a", 20, Good()}}, Closed, 0},
		{"bad only to one of two", []run{{"b", 1, Good()}, {"a", 500, Bad(errDown)}}, Closed, 1},
		{"bad to both", []run{{"b", 1, Good()}, {"a", 4, Bad(errDown)}, {"b", 1, Bad(errDown)}}, Open, 0},
		{"bad to the one that is slowed, and then to the other", []run{{"b", 1, Good()}, {"a", 500, Bad(errDown)}, {"b", 1, Bad(errDown)}}, Open, 1},
		{"bad to one of two, mixed", []run{{"b", 14, Good()}, {"a", 3, Bad(errDown)}, {"b", 1, Good()}, {"a", 1, Bad(errDown)}, {"b", 1, Good()}}, Closed, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inFleet(t, 1, func(t *testing.T, _ *fleet, w []*worker) {
				for _, r := range tc.runs {
					w[0].calls(t, r.n, Enroll, ca, r.producer, r.outcome)
				}
				if got := w[0].state(Enroll, ca); got.State != tc.want || got.Slowed != tc.slowed {
					t.Errorf("the breaker is %v with %d slowed, want %v with %d", got.State, got.Slowed, tc.want, tc.slowed)
				}
				// Breakers of other operations and CAs do not change.
				for _, other := range []status{w[0].state(Poll, ca), w[0].state(Enroll, "ca-2")} {
					if other.State != Closed {
						t.Errorf("%+v is %v", other, other.State)
					}
				}
			})
		})
	}
}

// Good answers of another operation, or of another CA, do not keep a breaker closed.
func TestSuccessOfAnotherKindResetsNothing(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, _ *fleet, w []*worker) {
		for range 5 {
			w[0].call(t, Enroll, ca, "a", Bad(errDown))
			w[0].calls(t, 10, Poll, ca, "a", Good())
			w[0].calls(t, 10, Enroll, "ca-2", "a", Good())
		}
		if got := w[0].state(Enroll, ca).State; got != Open {
			t.Errorf("the breaker is %v", got)
		}
	})
}

// If the calls of only one producer fail, the other producers are not affected, and that
// producer has few calls.
func TestAProducerAloneIsSlowedAlone(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, _ *fleet, w []*worker) {
		bad := 0
		for range 60 * 10 { // a minute
			bad += w[0].calls(t, 4, Enroll, ca, "a", Bad(errDown))
			if !w[0].call(t, Enroll, ca, "b", Good()) {
				t.Fatal("the neighbour was refused")
			}
			time.Sleep(100 * time.Millisecond)
		}
		if bad > tripRun+6 { // after 1, 2, 4, 8, 16, 32 s
			t.Errorf("%d calls failed", bad)
		}
		_, err := w[0].Admit(t.Context(), Enroll, ca, "a")
		if e, ok := errors.AsType[*OpenError](err); !ok || !errors.Is(err, errSlowed) || e.RetryIn <= 0 || e.RetryIn > maxSlow {
			t.Errorf("the slowed producer was told %v", err)
		}
		time.Sleep(maxSlow)
		if !w[0].call(t, Enroll, ca, "a", Good()) || w[0].calls(t, 10, Enroll, ca, "a", Good()) != 10 {
			t.Error("a producer whose call went well is still slowed")
		}
		want := []Change{
			{Operation: Enroll, CA: ca, Producer: "a", From: Closed, To: Open, Cause: errDown},
			{Operation: Enroll, CA: ca, Producer: "a", From: Open, To: Closed},
		}
		if len(w[0].changes) != 2 || w[0].changes[0] != want[0] || w[0].changes[1] != want[1] {
			t.Errorf("changes are %+v", w[0].changes)
		}
	})
}

// An open breaker is open for the fleet. It lets one canary through per interval and
// doubles the interval. A good canary closes it for all workers, with a ramp-up each.
func TestOutageOfAFleet(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, f *fleet, w []*worker) {
		a, b := w[0], w[1]
		a.calls(t, 5, Enroll, ca, "p", Bad(errDown))
		synctest.Wait()
		if got := b.state(Enroll, ca); got.State != Open || got.NextCanary != time.Second {
			t.Fatalf("the other worker's breaker is %+v", got)
		}
		begun := time.Now()
		var canaries []time.Duration
		for time.Since(begun) < 20*time.Minute {
			for _, x := range w {
				if x.calls(t, 3, Enroll, ca, "p", Bad(errDown)) > 0 {
					canaries = append(canaries, time.Since(begun))
				}
			}
			time.Sleep(250 * time.Millisecond)
		}
		want := []time.Duration{1, 3, 7, 15, 31, 63, 127, 255, 511, 811, 1111}
		if len(canaries) != len(want) {
			t.Fatalf("canaries at %v, want them at %v s", canaries, want)
		}
		for i := range want {
			if late := canaries[i] - want[i]*time.Second; late < 0 || late > 4*time.Second {
				t.Errorf("canary %d at %s, want it at %d s", i+1, canaries[i], want[i])
			}
		}

		// The gateway works again.
		time.Sleep(5 * time.Minute)
		if !b.call(t, Enroll, ca, "p", Good()) {
			t.Fatal("no canary after the interval")
		}
		synctest.Wait()
		for _, x := range w {
			if got := x.state(Enroll, ca); got.State != HalfOpen || got.Step != 1 {
				t.Errorf("after the good canary the breaker is %+v", got)
			}
		}
		for step := 1; step <= rampLast; step *= 2 {
			var permits []*Permit
			for range 2 * rampLast {
				p, err := a.Admit(t.Context(), Enroll, ca, "p")
				if err != nil {
					break
				}
				permits = append(permits, p)
			}
			if len(permits) != step || a.Room(Enroll) != 0 {
				t.Fatalf("step %d lets %d calls through", step, len(permits))
			}
			for _, p := range permits {
				p.Done(Good())
				p.Done(Bad(errDown)) // no longer counts
			}
		}
		if got := a.calls(t, 1000, Enroll, ca, "p", Good()); got != 1000 || a.state(Enroll, ca).State != Closed {
			t.Errorf("%d of 1000 calls after the ramp-up, breaker %v", got, a.state(Enroll, ca).State)
		}
		if b.calls(t, 15, Enroll, ca, "p", Good()); b.state(Enroll, ca).State != Closed {
			t.Error("a worker with few calls is still in its ramp-up")
		}
		var states []State
		for _, c := range a.changes {
			states = append(states, c.To)
		}
		if fmt.Sprint(states) != "[open half-open closed]" || a.changes[2].Lasted < 20*time.Minute {
			t.Errorf("changes are %+v", a.changes)
		}
		if !b.changes[0].Remote || !a.changes[1].Remote || b.changes[1].Remote {
			t.Errorf("who saw it first: %+v and %+v", a.changes, b.changes)
		}
	})
}

// A bad answer in the ramp-up halves the step; at the first step it opens the breaker
// again. The interval continues from its value before the good canary, halved for each
// good step.
func TestRampUpThatFails(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, f *fleet, w []*worker) {
		a, b := w[0], w[1]
		a.calls(t, 5, Enroll, ca, "p", Bad(errDown))
		for range 3 {
			synctest.Wait()
			time.Sleep(a.state(Enroll, ca).NextCanary)
			if !a.call(t, Enroll, ca, "p", Bad(errDown)) {
				t.Fatal("no canary")
			}
		}
		time.Sleep(8 * time.Second)
		if !b.call(t, Enroll, ca, "p", Good()) {
			t.Fatal("no canary")
		}
		synctest.Wait()
		a.call(t, Enroll, ca, "p", Good())
		p1, err1 := a.Admit(t.Context(), Enroll, ca, "p")
		p2, err2 := a.Admit(t.Context(), Enroll, ca, "p")
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		p1.Done(Bad(errDown))
		if got := a.state(Enroll, ca); got.State != HalfOpen || got.Step != 1 {
			t.Errorf("after a bad answer of the second step the breaker is %+v", got)
		}
		p2.Done(Bad(errDown))
		synctest.Wait()
		for _, x := range w {
			if got := x.state(Enroll, ca); got.State != Open || got.NextCanary != 4*time.Second {
				t.Errorf("the breaker is %+v", got)
			}
		}
	})
}

// A gateway that answers one call of eight badly, at random, still gets calls. A gateway
// that answers every second call badly gets few.
func TestIntervalFollowsTheGateway(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		bad         float64
		least, most int // of 10,000 calls, one each 400 ms
	}{
		{0.125, 3000, 10000},
		{0.5, 20, 200},
	} {
		t.Run(fmt.Sprint(tc.bad), func(t *testing.T) {
			inFleet(t, 1, func(t *testing.T, _ *fleet, w []*worker) {
				rnd, calls := rand.New(rand.NewPCG(1, 2)), 0
				w[0].calls(t, 5, Enroll, ca, "p", Bad(errDown))
				for range 10_000 {
					time.Sleep(400 * time.Millisecond)
					synctest.Wait()
					answer := Good()
					if rnd.Float64() < tc.bad {
						answer = Bad(errDown)
					}
					if w[0].call(t, Enroll, ca, "p", answer) {
						calls++
					}
				}
				t.Logf("%.3f bad: %d calls", tc.bad, calls)
				if calls < tc.least || calls > tc.most {
					t.Errorf("with %.3f of the answers bad %d calls were made, want %d to %d", tc.bad, calls, tc.least, tc.most)
				}
			})
		})
	}
}

// Results of calls from before the opening change nothing, good or bad.
func TestStragglers(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, _ *fleet, w []*worker) {
		var before []*Permit
		for range 20 {
			p, err := w[0].Admit(t.Context(), Enroll, ca, "p")
			if err != nil {
				t.Fatal(err)
			}
			before = append(before, p)
		}
		w[0].calls(t, 5, Enroll, ca, "p", Bad(errDown))
		synctest.Wait()
		for i, p := range before[:10] {
			p.Done([]Outcome{Good(), Bad(errDown)}[i%2])
		}
		if got := w[0].state(Enroll, ca).State; got != Open {
			t.Fatalf("stragglers made the breaker %v", got)
		}
		time.Sleep(time.Second)
		w[0].call(t, Enroll, ca, "p", Good())
		for _, p := range before[10:] {
			p.Done(Bad(errDown))
		}
		if got := w[0].state(Enroll, ca).State; got != HalfOpen {
			t.Errorf("stragglers made the breaker %v during the ramp-up", got)
		}
	})
}

// Each canary is from another producer, if another one calls.
func TestCanariesTakeTurns(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, f *fleet, w []*worker) {
		for i := range 6 {
			w[0].call(t, Enroll, ca, []string{"busy", "quiet"}[i%2], Bad(errDown))
		}
		synctest.Wait()
		var took []string
		for begun := time.Now(); time.Since(begun) < 50*time.Second; time.Sleep(50 * time.Millisecond) {
			for _, p := range []string{"busy", "busy", "busy", "quiet"} {
				if w[0].call(t, Enroll, ca, p, Bad(errDown)) {
					took = append(took, p)
				}
			}
		}
		for i := 1; i < len(took); i++ {
			if took[i] == took[i-1] {
				t.Fatalf("canaries were of %v", took)
			}
		}
		if len(took) < 5 {
			t.Fatalf("only %d canaries", len(took))
		}
		// The quiet producer stops: the busy one is skipped for a short time only.
		time.Sleep(w[0].state(Enroll, ca).NextCanary)
		first := took[len(took)-1]
		if got := w[0].calls(t, maxPassed+1, Enroll, ca, first, Bad(errDown)); got != 1 {
			t.Errorf("%d canaries of the only producer that calls", got)
		}
	})
}

// For any number of concurrent calls a worker asks for one permit at a time. It refuses
// calls while another worker has the permit, even before it is told.
func TestOnePermitAtATime(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, f *fleet, w []*worker) {
		w[0].calls(t, 5, Enroll, ca, "p", Bad(errDown))
		synctest.Wait()
		time.Sleep(time.Second)
		f.set(func() { f.deaf, f.slow = true, time.Second })
		admitted := make(chan bool)
		for i := range 20 {
			go func() { admitted <- w[i%2].call(t, Enroll, ca, "p", Bad(errDown)) }()
		}
		n := 0
		for range 20 {
			if <-admitted {
				n++
			}
		}
		if n != 1 || f.permits != 1 || f.asked != 2 {
			t.Errorf("%d calls admitted with %d permits, asked for %d times", n, f.permits, f.asked)
		}
		for _, x := range w { // both know when the next canary is due, minus the time of asking
			if got := x.state(Enroll, ca).NextCanary; got <= 0 || got > 2*time.Second {
				t.Errorf("the next canary is due in %s", got)
			}
		}
	})
}

// A slowed producer's bad calls do not end the ramp-up of the others.
func TestRampUpBesideASlowedProducer(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, f *fleet, w []*worker) {
		w[0].call(t, Enroll, ca, "well", Good())
		w[0].calls(t, 6, Enroll, ca, "ill", Bad(errDown))  // slowed
		w[0].calls(t, 1, Enroll, ca, "well", Bad(errDown)) // and this opens
		synctest.Wait()
		time.Sleep(2 * time.Second)
		if first := w[0].call(t, Enroll, ca, "well", Good()); !first && !w[0].call(t, Enroll, ca, "well", Good()) {
			for range maxPassed {
				w[0].call(t, Enroll, ca, "well", Good())
			}
		}
		if got := w[0].state(Enroll, ca); got.State != HalfOpen || got.Slowed != 1 {
			t.Fatalf("the breaker is %+v", got)
		}
		ill := 0
		for range 30 {
			ill += w[0].calls(t, 1, Enroll, ca, "ill", Bad(errDown))
			w[0].call(t, Enroll, ca, "well", Good())
			time.Sleep(time.Second)
		}
		if got := w[0].state(Enroll, ca); got.State != Closed || ill == 0 || ill > 5 {
			t.Errorf("after %d bad calls of the slowed producer the breaker is %+v", ill, got)
		}
	})
}

// Without the bus there is no canary. An opening that the fleet does not know yet is
// written when the bus is back.
func TestNoCanaryWithoutTheFleet(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, f *fleet, w []*worker) {
		f.set(func() { f.lost = true })
		w[0].calls(t, 5, Enroll, ca, "p", Bad(errDown))
		for range 600 {
			if w[0].call(t, Enroll, ca, "p", Bad(errDown)) {
				t.Fatal("a canary without the fleet's permit")
			}
			time.Sleep(time.Second)
		}
		f.set(func() { f.lost = false })
		time.Sleep(lastRetry + time.Second)
		if !w[0].call(t, Enroll, ca, "p", Bad(errDown)) {
			t.Fatal("no canary with the bus back")
		}
		f.set(func() { f.lost = true }) // while it is open
		time.Sleep(10 * time.Second)
		_, err := w[0].Admit(t.Context(), Enroll, ca, "p")
		if e, ok := errors.AsType[*OpenError](err); !ok || !errors.Is(err, errLost) || !errors.Is(err, errDown) || e.RetryIn < time.Second {
			t.Errorf("refused with %v", err)
		}
		// The bucket was made again: the opening is written again.
		f.set(func() { f.lost, f.records = false, nil })
		w[0].Synced()
		synctest.Wait()
		if r := f.record("enroll ca-1"); !r.open {
			t.Fatalf("the new bucket holds %+v", r)
		}
		time.Sleep(time.Second)
		if !w[0].call(t, Enroll, ca, "p", Good()) {
			t.Error("no canary in the new bucket")
		}
		synctest.Wait()
		if r := f.record("enroll ca-1"); r.open {
			t.Errorf("the new bucket holds %+v", r)
		}
	})
}

// A good canary starts the ramp-up here even if its closing cannot be written. The fleet
// learns of it later.
func TestClosingIsToldLater(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, f *fleet, w []*worker) {
		w[0].calls(t, 5, Enroll, ca, "p", Bad(errDown))
		synctest.Wait()
		time.Sleep(time.Second)
		p, err := w[0].Admit(t.Context(), Enroll, ca, "p")
		if err != nil {
			t.Fatal(err)
		}
		f.set(func() { f.lost = true })
		p.Done(Good())
		synctest.Wait()
		if a, b := w[0].state(Enroll, ca).State, w[1].state(Enroll, ca).State; a != HalfOpen || b != Open {
			t.Fatalf("the breakers are %v and %v", a, b)
		}
		// A late report of the opening does not open it again.
		w[0].Opened("enroll", ca, "opening-1", "p", time.Second)
		if got := w[0].state(Enroll, ca).State; got != HalfOpen {
			t.Errorf("late news made the breaker %v", got)
		}
		f.set(func() { f.lost = false })
		time.Sleep(lastRetry)
		if a, b := w[0].state(Enroll, ca).State, w[1].state(Enroll, ca).State; a != HalfOpen || b != HalfOpen {
			t.Errorf("the breakers are %v and %v", a, b)
		}
	})
}

// An operator who removes the key closes the breaker.
func TestClosedByAnOperator(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, f *fleet, w []*worker) {
		w[0].calls(t, 5, Revoke, ca, "p", Bad(errDown))
		synctest.Wait()
		w[0].ClosedBy("revoke", ca, "another opening")
		if got := w[0].state(Revoke, ca).State; got != Open {
			t.Fatalf("old news made the breaker %v", got)
		}
		w[0].ClosedBy("revoke", ca, "")
		if got := w[0].state(Revoke, ca).State; got != HalfOpen {
			t.Errorf("the breaker is %v", got)
		}
	})
}

// A lane waits exactly while none of its calls could be admitted.
func TestWait(t *testing.T) {
	t.Parallel()
	// waited returns how long a lane waits, at most an hour.
	waited := func(t *testing.T, w *worker, op Operation) time.Duration {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		begun := time.Now()
		if err := w.Wait(ctx, op); (err != nil) != (time.Since(begun) == time.Hour) {
			t.Errorf("waiting ended as %v after %s", err, time.Since(begun))
		}
		return time.Since(begun)
	}
	for _, tc := range []struct {
		name  string
		other bool // a second CA is known
		do    func(t *testing.T, f *fleet, w *worker)
		want  time.Duration
	}{
		{"all well", false, func(*testing.T, *fleet, *worker) {}, 0},
		{"a pause", false, func(t *testing.T, f *fleet, w *worker) { w.stops.Pause(time.Minute) }, time.Minute},
		{"a pause that is ended", false, func(t *testing.T, f *fleet, w *worker) {
			w.stops.Pause(time.Minute)
			time.AfterFunc(5*time.Second, w.stops.EndPause)
		}, 5 * time.Second},
		{"until the canary is due", false, func(t *testing.T, f *fleet, w *worker) {
			w.calls(t, 5, Enroll, ca, "p", Bad(errDown))
			synctest.Wait()
			time.Sleep(time.Second)
			w.call(t, Enroll, ca, "p", Bad(errDown))
		}, 2 * time.Second},
		{"until another worker closes it", false, func(t *testing.T, f *fleet, w *worker) {
			w.calls(t, 5, Enroll, ca, "p", Bad(errDown))
			synctest.Wait()
			w.Opened("enroll", ca, "opening-1", "p", 5*time.Minute)
			time.AfterFunc(7*time.Second, func() { w.ClosedBy("enroll", ca, "opening-1") })
		}, 7 * time.Second},
		{"another CA works", true, func(t *testing.T, f *fleet, w *worker) { w.calls(t, 5, Enroll, ca, "p", Bad(errDown)) }, 0},
		{"an unknown CA is not", false, func(t *testing.T, f *fleet, w *worker) { w.calls(t, 5, Enroll, "else", "p", Bad(errDown)) }, 0},
		{"another operation is not well", false, func(t *testing.T, f *fleet, w *worker) { w.calls(t, 5, Poll, ca, "p", Bad(errDown)) }, 0},
		{"the fleet cannot be told", false, func(t *testing.T, f *fleet, w *worker) {
			f.set(func() { f.lost = true })
			w.calls(t, 5, Enroll, ca, "p", Bad(errDown))
		}, time.Hour},
		{"a full ramp-up", false, func(t *testing.T, f *fleet, w *worker) {
			w.calls(t, 5, Enroll, ca, "p", Bad(errDown))
			synctest.Wait()
			time.Sleep(time.Second)
			w.call(t, Enroll, ca, "p", Good())
			p, err := w.Admit(t.Context(), Enroll, ca, "p")
			if err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(3*time.Second, func() { p.Done(None()) })
		}, 3 * time.Second},
		{"refused credentials", false, func(t *testing.T, f *fleet, w *worker) {
			w.call(t, Poll, "any", "p", Unauthorized(errDown))
			time.AfterFunc(9*time.Second, func() { w.prober.step(t.Context()) })
		}, 9 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inFleet(t, 1, func(t *testing.T, f *fleet, w []*worker) {
				if tc.other {
					w[0].Add("ca-2")
				}
				tc.do(t, f, w[0])
				if room := w[0].Room(Enroll); (room > 0) != (tc.want == 0) {
					t.Errorf("room for %d calls", room)
				}
				if got := waited(t, w[0], Enroll); got != tc.want {
					t.Errorf("the lane waited for %s, want %s", got, tc.want)
				}
			})
		})
	}
}

// Refused credentials stop every operation at once. A refused call gets the pause or the
// gateway's state as its cause.
func TestGatewayAsAWhole(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, f *fleet, w []*worker) {
		straggler, err := w[0].Admit(t.Context(), Poll, ca, "p")
		if err != nil {
			t.Fatal(err)
		}
		w[0].call(t, Enroll, ca, "p", Unauthorized(errDown))
		for _, op := range []Operation{Enroll, Poll, Revoke, Lookup} {
			_, err := w[0].Admit(t.Context(), op, ca, "p")
			if e, ok := errors.AsType[*OpenError](err); !ok || !errors.Is(err, errDown) || e.RetryIn != time.Second || w[0].Room(op) != 0 {
				t.Errorf("%s was refused with %v", op, err)
			}
		}
		w[0].prober.step(t.Context())
		straggler.Done(Unauthorized(errDown)) // sent with the old key pair
		if !w[0].call(t, Enroll, ca, "p", Good()) {
			t.Error("a straggler shut the gateway again")
		}
		w[0].stops.Pause(time.Minute)
		_, err = w[0].Admit(t.Context(), Enroll, ca, "p")
		if e, ok := errors.AsType[*OpenError](err); !ok || !errors.Is(err, ErrPaused) || e.RetryIn != time.Minute {
			t.Errorf("refused with %v", err)
		}
		for _, op := range []Operation{Enroll, Poll, Revoke, Lookup} {
			if got := w[0].state(op, ca); got.State != Closed || got.Slowed != 0 {
				t.Errorf("the breaker of %s is %v with %d slowed", op, got.State, got.Slowed)
			}
		}
		gone, cancel := context.WithCancelCause(t.Context())
		cancel(errLost)
		if _, err := w[0].Admit(gone, Enroll, ca, "p"); err != errLost {
			t.Errorf("admitting for nobody: %v", err)
		}
	})
}

// Unknown CAs and producers use bounded memory.
func TestMemoryIsBounded(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, f *fleet, w []*worker) {
		for i := range 2000 {
			w[0].call(t, Enroll, fmt.Sprint("random-", i), "p", Good())
			w[0].call(t, Enroll, ca, fmt.Sprint("producer-", i), Good())
		}
		w[0].mu.Lock()
		if n := len(w[0].all); n > maxCAs+1 {
			t.Errorf("%d breakers", n)
		}
		_, br := w[0].of(Enroll, ca)
		if n := len(br.producers); n != maxProducers || br.producers["producer-1999"] == nil {
			t.Errorf("%d producers, the last one among them: %v", n, br.producers["producer-1999"] != nil)
		}
		w[0].mu.Unlock()
		if w[0].Room(Enroll) != math.MaxInt {
			t.Error("the known CA has no room")
		}
	})
}
