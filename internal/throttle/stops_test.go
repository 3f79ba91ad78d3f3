package throttle

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A suspension covers exactly the calls of its scope.
func TestSuspensionsCoverTheirCalls(t *testing.T) {
	t.Parallel()
	call := Scope{Lane: "issue", Producer: "shop", CA: "ca-1"}
	for _, tc := range []struct {
		suspended, calls Scope
		want             bool
	}{
		{Scope{}, call, true},
		{Scope{Lane: "issue"}, call, true},
		{Scope{Lane: "poll"}, call, false},
		{Scope{Producer: "shop"}, call, true},
		{Scope{Producer: "web"}, call, false},
		{Scope{CA: "ca-1"}, call, true},
		{Scope{Lane: "issue", CA: "ca-1"}, call, true},
		{Scope{Lane: "issue", CA: "ca-2"}, call, false}, // every part counts
		{call, call, true},
		{Scope{Producer: "shop"}, Scope{Lane: "issue"}, false}, // a part of the lane only
		{Scope{Lane: "issue"}, Scope{Producer: "shop"}, false}, // a call of no lane
		{Scope{}, Scope{}, true},
	} {
		var s Stops
		s.Suspend([]Suspension{{Scope: tc.suspended, About: "it"}})
		if _, cause := s.Of(tc.calls); errors.Is(cause, ErrSuspended) != tc.want {
			t.Errorf("%+v suspended, calls of %+v: %v, want suspended: %v", tc.suspended, tc.calls, cause, tc.want)
		}
	}
}

// A suspended call must wait as long as the suspension has lasted, within bounds. It
// takes no canary, and can pass when the suspension ends.
func TestSuspendedCallsWait(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, f *fleet, w []*worker) {
		b := w[0].Breakers
		shop := Scope{Lane: "issue", Producer: "shop", CA: ca}
		w[0].stops.Suspend([]Suspension{{Scope: Scope{Producer: "shop"}, About: "producer shop, by ann: too many"}})
		for _, step := range []struct{ after, want time.Duration }{
			{0, time.Second}, {30 * time.Second, 30 * time.Second}, {time.Hour, 5 * time.Minute},
		} {
			time.Sleep(step.after)
			// The watch of the bucket may report it again with another clock reading.
			w[0].stops.Suspend([]Suspension{{Scope: Scope{Producer: "shop"}, About: "producer shop, by ann: too many", Age: time.Minute}})
			_, err := b.Admit(t.Context(), Enroll, shop)
			e, ok := errors.AsType[*OpenError](err)
			if !ok || !errors.Is(err, ErrSuspended) || e.RetryIn < step.want || e.Cause.Error() != "an operator suspended producer shop, by ann: too many" {
				t.Fatalf("after %s: %v, want to wait %s", step.after, err, step.want)
			}
		}
		if !w[0].call(t, Enroll, ca, "web", Good()) {
			t.Error("another producer's call was refused")
		}
		w[0].calls(t, 5, Enroll, ca, "web", Bad(errDown))
		synctest.Wait()
		time.Sleep(time.Second)
		if _, err := b.Admit(t.Context(), Enroll, shop); !errors.Is(err, ErrSuspended) || f.asked != 0 {
			t.Errorf("with a canary due: %v, %d permits asked for", err, f.asked)
		}
		w[0].stops.Suspend(nil)
		if p, err := b.Admit(t.Context(), Enroll, shop); err != nil || !p.canary {
			t.Errorf("resumed, with a canary due: %v", err)
		}
	})
}

// A lane fetches nothing while all its calls are suspended, and fetches at once when the
// suspension ends.
func TestLanesWaitForResume(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name      string
		suspended []Suspension
		other     bool // a second CA is known
		lane      string
		op        Operation
		waits     bool
	}{
		{"the lane", []Suspension{{Scope: Scope{Lane: "issue"}}}, false, "issue", Enroll, true},
		{"another lane", []Suspension{{Scope: Scope{Lane: "issue"}}}, false, "poll", Poll, false},
		{"all calls", []Suspension{{}}, false, "poll", Poll, true},
		{"all calls, and a lane that makes none of its own", []Suspension{{}}, false, "manage", "", false},
		{"a lane that makes no calls", []Suspension{{Scope: Scope{Lane: "manage"}}}, false, "manage", "", true},
		{"a lane of mixed operations", []Suspension{{Scope: Scope{Lane: "resubmit"}}}, false, "resubmit", "", true},
		{"the only CA", []Suspension{{Scope: Scope{CA: ca}}}, false, "issue", Enroll, true},
		{"the only CA, of another lane", []Suspension{{Scope: Scope{Lane: "poll", CA: ca}}}, false, "issue", Enroll, false},
		{"one of two CAs", []Suspension{{Scope: Scope{CA: ca}}}, true, "issue", Enroll, false},
		{"both CAs", []Suspension{{Scope: Scope{CA: ca}}, {Scope: Scope{Lane: "issue", CA: "ca-2"}}}, true, "issue", Enroll, true},
		{"a producer", []Suspension{{Scope: Scope{Producer: "shop"}}}, false, "issue", Enroll, false},
		{"a producer's part of the lane", []Suspension{{Scope: Scope{Lane: "issue", Producer: "shop"}}}, false, "issue", Enroll, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inFleet(t, 1, func(t *testing.T, f *fleet, w []*worker) {
				b, stops := w[0].Breakers, w[0].stops
				if tc.other {
					b.Add("ca-2")
				}
				stops.Suspend(tc.suspended)
				if room := b.Room(tc.lane, tc.op); (room == 0) != tc.waits {
					t.Errorf("room for %d calls", room)
				}
				const until = 3 * time.Hour
				time.AfterFunc(until, func() { stops.Suspend(nil) })
				begun := time.Now()
				if err := b.Wait(t.Context(), tc.lane, tc.op); err != nil || (time.Since(begun) == until) != tc.waits || !tc.waits && time.Since(begun) != 0 {
					t.Errorf("waited %s, %v", time.Since(begun), err)
				}
			})
		})
	}
}

// A pause continues under a suspension that ends before it. The end of ctx ends the wait
// for both.
func TestPauseUnderASuspension(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, f *fleet, w []*worker) {
		stops := w[0].stops
		stops.Pause(10 * time.Minute)
		stops.Suspend([]Suspension{{About: "all calls"}})
		time.AfterFunc(time.Minute, func() { stops.Suspend(nil) })
		short, cancel := context.WithTimeoutCause(t.Context(), 30*time.Second, errLost)
		defer cancel()
		if err := w[0].Wait(short, Enroll); err != errLost {
			t.Errorf("waiting ended as %v", err)
		}
		begun := time.Now()
		if err := w[0].Wait(t.Context(), Enroll); err != nil || time.Since(begun) != 9*time.Minute+30*time.Second {
			t.Errorf("waited %s, %v", time.Since(begun), err)
		}
	})
}
