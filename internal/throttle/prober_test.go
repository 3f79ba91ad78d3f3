package throttle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// gateway is a gateway whose answers the test sets. It records its probes.
type gateway struct {
	mu     sync.Mutex
	begun  time.Time
	err    error
	probes []time.Duration
}

func (g *gateway) probe(context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.probes = append(g.probes, time.Since(g.begun))
	return g.err
}

// answers sets the answer of the next probes.
func (g *gateway) answers(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.err = err
}

// restart forgets the probes so far.
func (g *gateway) restart() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.begun, g.probes = time.Now(), nil
}

// probed returns the times of the probes.
func (g *gateway) probed() []time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.probes)
}

// probing runs a test in a bubble with a running prober.
func probing(t *testing.T, test func(t *testing.T, g *gateway, p *Prober, stops *Stops, changes *[]ProberChange)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, stops, changes := &gateway{begun: time.Now(), err: errDown}, new(Stops), new([]ProberChange)
		p := NewProber(g.probe, stops, func(c ProberChange) { *changes = append(*changes, c) })
		go p.Run(t.Context())
		test(t, g, p, stops, changes)
	})
}

func seconds(n ...int) (all []time.Duration) {
	for _, s := range n {
		all = append(all, time.Duration(s)*time.Second)
	}
	return all
}

func TestProbesUntilAnswered(t *testing.T) {
	probing(t, func(t *testing.T, g *gateway, p *Prober, _ *Stops, changes *[]ProberChange) {
		if ready, cause := p.Ready(); ready || cause == nil {
			t.Error("ready before the first answer")
		}
		time.Sleep(100 * time.Second)
		synctest.Wait()
		if want := seconds(0, 1, 3, 7, 15, 31, 61, 91); !slices.Equal(g.probed(), want) {
			t.Errorf("probes at %v, want %v", g.probed(), want)
		}
		if ready, cause := p.Ready(); ready || cause != errDown {
			t.Errorf("ready is %v: %v", ready, cause)
		}
		g.answers(nil)
		p.Wake()
		synctest.Wait()
		if ready, _ := p.Ready(); !ready || len(g.probed()) != 9 {
			t.Errorf("%d probes; waking it made none", len(g.probed()))
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(g.probed()) != 9 {
			t.Error("a gateway that answers is probed")
		}
		// Once for each change, not for each probe.
		if want := []ProberChange{{Cause: errDown}, {Ready: true, Lasted: 100 * time.Second}}; !slices.Equal(*changes, want) {
			t.Errorf("changes are %+v", *changes)
		}
	})
}

func TestProbesAfterRefusedCredentials(t *testing.T) {
	probing(t, func(t *testing.T, g *gateway, p *Prober, stops *Stops, changes *[]ProberChange) {
		g.answers(nil)
		p.Wake()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		p.Wake() // an earlier SIGHUP must not count later
		g.restart()
		refused := errors.New("401")
		_, epoch, _ := p.state()
		g.answers(refused)
		p.shut(epoch, refused)
		p.shut(epoch, errDown) // of a concurrent call
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if want := seconds(1, 2, 4, 8); !slices.Equal(g.probed(), want) {
			t.Errorf("probes at %v, want %v", g.probed(), want)
		}
		stops.Pause(time.Minute) // a pause applies to probes too
		g.answers(nil)
		p.Wake()
		time.Sleep(time.Minute - time.Nanosecond)
		synctest.Wait()
		if len(g.probed()) != 4 {
			t.Errorf("probes at %v, in a pause", g.probed())
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if ready, _ := p.Ready(); !ready {
			t.Error("not ready after the pause")
		}
		if last := (*changes)[len(*changes)-1]; last.Lasted != 70*time.Second || (*changes)[len(*changes)-2].Cause != refused {
			t.Errorf("changes are %+v", *changes)
		}
	})
}

func TestPause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var p Stops
		if p.PauseLeft() != 0 || !p.PausedUntil().IsZero() || p.WaitPause(t.Context()) != nil {
			t.Error("a new pause is one")
		}
		begun := time.Now()
		for _, step := range []struct {
			d       time.Duration
			changes bool
			left    time.Duration
		}{
			{-time.Hour, false, 0},
			{0, false, 0},
			{time.Minute, true, time.Minute},
			{30 * time.Second, false, time.Minute},
			{876000 * time.Hour, true, MaxPause},
		} {
			if got := p.Pause(step.d); got != step.changes || p.PauseLeft() != step.left {
				t.Errorf("extending by %s: %v, %s left; want %v, %s", step.d, got, p.PauseLeft(), step.changes, step.left)
			}
		}
		short, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errLost)
		defer cancel()
		if err := p.WaitPause(short); err != errLost || time.Since(begun) != time.Minute {
			t.Errorf("waiting ended as %v after %s", err, time.Since(begun))
		}
		if err := p.WaitPause(t.Context()); err != nil || time.Since(begun) != MaxPause || !p.PausedUntil().IsZero() {
			t.Errorf("waiting ended as %v after %s", err, time.Since(begun))
		}
		// The pause is extended during the wait.
		p.Pause(time.Second)
		time.AfterFunc(time.Second/2, func() { p.Pause(time.Minute) })
		begun = time.Now()
		if err := p.WaitPause(t.Context()); err != nil || time.Since(begun) != time.Minute+time.Second/2 {
			t.Errorf("waiting ended as %v after %s", err, time.Since(begun))
		}
	})
}

func TestRate(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		own, fleet float64
		workers    int
		want       float64
	}{
		{0, 0, 3, 0},
		{10, 0, 3, 10},
		{0, 30, 3, 10},
		{5, 30, 3, 5},
		{20, 30, 3, 10},
		{0, 30, 0, 30},
	} {
		r := NewRate(tc.own, tc.fleet)
		r.SetWorkers(tc.workers)
		if got := r.PerSecond(); got != tc.want {
			t.Errorf("%+v: %v calls a second", tc, got)
		}
	}
	// took returns how long n concurrent calls of each caller take.
	took := func(t *testing.T, perSecond float64, n int, callers ...Caller) map[Caller]time.Duration {
		r, done := NewRate(perSecond, 0), make(chan Caller)
		begun := time.Now()
		for _, c := range callers {
			go func() {
				for range n {
					if err := r.Wait(t.Context(), c); err != nil {
						t.Error(err)
					}
				}
				done <- c
			}()
		}
		all := map[Caller]time.Duration{}
		for range callers {
			all[<-done] = time.Since(begun)
		}
		return all
	}
	about := func(t *testing.T, what string, got, want time.Duration) {
		t.Helper()
		if (got - want).Abs() > want/10 {
			t.Errorf("%s took %s, want about %s", what, got, want)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		about(t, "revocations alone", took(t, 10, 100, ForRevocation)[ForRevocation], 10*time.Second)
		about(t, "requests alone", took(t, 10, 100, ForRequest)[ForRequest], 12500*time.Millisecond)
		both := took(t, 10, 100, ForRequest, ForPoll)
		about(t, "requests beside polls", both[ForRequest], 25*time.Second)
		about(t, "polls beside requests", both[ForPoll], 25*time.Second)
		if got := took(t, 0, 1000, ForRequest, ForPoll, ForRevocation); got[ForRequest] != 0 {
			t.Errorf("without a limit: %v", got)
		}
		// Many requests get no more turns than one poll.
		crowd := []Caller{ForPoll}
		for range 50 {
			crowd = append(crowd, ForRequest)
		}
		about(t, "polls beside a crowd", took(t, 10, 50, crowd...)[ForPoll], 12500*time.Millisecond)
	})
	synctest.Test(t, func(t *testing.T) {
		r := NewRate(0.1, 0)
		gone, cancel := context.WithCancelCause(t.Context())
		if err := r.Wait(gone, ForPoll); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Second, func() { cancel(errLost) })
		for _, c := range []Caller{ForPoll, ForRequest, ForRevocation} {
			if err := r.Wait(gone, c); err != errLost {
				t.Errorf("caller %d: %v", c, err)
			}
		}
		if err := r.Wait(t.Context(), ForPoll); err != nil { // its turn was given back
			t.Error(fmt.Errorf("after one that was cancelled: %w", err))
		}
	})
}
