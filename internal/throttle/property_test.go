package throttle

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// For all calls of producers and workers, and all answers of the gateway, in any order:
// calls admitted while a breaker is open are canaries with the fleet's permit. A call
// that fails after an opening was in flight then or is such a canary.
func TestWhatFailsAfterOpeningIsBounded(t *testing.T) {
	t.Parallel()
	type step struct {
		worker, producer, pick int
		do                     string
		wait                   time.Duration
	}
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
			return step{
				worker:   rapid.IntRange(0, 1).Draw(t, "worker"),
				producer: rapid.IntRange(0, 3).Draw(t, "producer"),
				pick:     rapid.IntRange(0, 1000).Draw(t, "pick"),
				do:       rapid.SampledFrom([]string{"begin", "begin", "begin", "bad", "bad", "good", "none", "wait", "breakdown"}).Draw(t, "do"),
				wait:     time.Duration(rapid.IntRange(0, 3000).Draw(t, "wait")) * time.Millisecond,
			}
		}), 50, 400).Draw(rt, "steps")
		failed := ""
		synctest.Test(t, func(t *testing.T) {
			f := new(fleet)
			w := []*worker{f.join(t.Context(), ca), f.join(t.Context(), ca)}
			type call struct {
				*Permit
				worker int
				while  State // state of the breaker when it was admitted
			}
			var inFlight []call
			admitted, openings := 0, map[int]struct{ inFlight, bad, permits int }{}
			end := func(c call, o Outcome) {
				before := w[c.worker].state(Enroll, ca).State
				c.Done(o)
				synctest.Wait()
				if s, open := openings[c.worker]; open && before == Open && o.kind == bad {
					s.bad++
					openings[c.worker] = s
				}
			}
			take := func(i int) call {
				c := inFlight[i]
				inFlight = append(inFlight[:i], inFlight[i+1:]...)
				return c
			}
			for n, s := range steps {
				switch s.do {
				case "begin":
					before := w[s.worker].state(Enroll, ca).State
					p, err := w[s.worker].Admit(t.Context(), Enroll, ca, fmt.Sprint("p", s.producer))
					if err == nil {
						inFlight = append(inFlight, call{p, s.worker, before})
						if before == Open {
							admitted++
						}
					}
				case "wait":
					time.Sleep(s.wait)
				case "breakdown": // everything in flight fails
					for len(inFlight) > 0 {
						end(take(0), Bad(errDown))
					}
				default:
					if len(inFlight) > 0 {
						end(take(s.pick%len(inFlight)), map[string]Outcome{"bad": Bad(errDown), "good": Good(), "none": None()}[s.do])
					}
				}
				synctest.Wait()
				for i := range w {
					s, was := openings[i]
					switch is := w[i].state(Enroll, ca).State == Open; {
					case is && !was:
						for _, c := range inFlight {
							if c.worker == i {
								s.inFlight++
							}
						}
						s.permits = f.permits
						openings[i] = s
					case !is:
						delete(openings, i)
					}
					if s.bad > s.inFlight+f.permits-s.permits {
						failed = fmt.Sprintf("step %d: %d calls failed while open, %d were in flight and %d canaries had a permit", n, s.bad, s.inFlight, f.permits-s.permits)
						return
					}
				}
				if admitted != f.permits {
					failed = fmt.Sprintf("step %d: %d calls were admitted while open, with %d permits", n, admitted, f.permits)
					return
				}
			}
		})
		if failed != "" {
			rt.Fatal(failed)
		}
	})
}

// A gateway that is down ends only the calls until the opening, the calls in flight, and
// one canary per interval. This holds for any number of producers, and for rare calls.
func TestAnOutageEndsFewCalls(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		producers := rapid.IntRange(1, 6).Draw(rt, "producers")
		workers := rapid.IntRange(1, 3).Draw(rt, "workers")
		rare := rapid.IntRange(1, 2000).Draw(rt, "the others call once in so many calls")
		failed := ""
		synctest.Test(t, func(t *testing.T) {
			f := new(fleet)
			var w []*worker
			for range workers {
				w = append(w, f.join(t.Context(), ca))
			}
			for _, x := range w { // all are active and get good answers
				for p := range producers {
					x.call(t, Enroll, ca, fmt.Sprint("p", p), Good())
				}
			}
			bad, n := 0, 0
			for begun := time.Now(); time.Since(begun) < 30*time.Second; time.Sleep(25 * time.Millisecond) {
				for _, x := range w {
					p := 0 // the busy one
					if n++; n%rare == 0 {
						p = n / rare % producers
					}
					bad += x.calls(t, 1, Enroll, ca, fmt.Sprint("p", p), Bad(errDown))
				}
			}
			// 1, 2, 4, 8 and 16 s of a slowed producer, and of canaries.
			if limit := workers*producers*(tripRun+5) + 5; bad > limit {
				failed = fmt.Sprintf("%d calls failed, at most %d may", bad, limit)
			}
		})
		if failed != "" {
			rt.Fatal(failed)
		}
	})
}
