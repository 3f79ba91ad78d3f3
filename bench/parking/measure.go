package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/testbed/stats"
)

const (
	// farAway is the wait before a poll while orders are being parked: longer than the
	// parking takes.
	farAway = time.Hour
	// watchdogEvery is a fifth of the worker's default.
	watchdogEvery = time.Minute
	// longestLook exceeds the time of a scan of half a million orders and the pause
	// before it.
	longestLook = 20 * time.Minute
	// warmUp is how many requests a worker handles before its memory is first read: then
	// it has all its connections and buffers.
	warmUp = 5000
	// rounds is how often issuing and parking alternate.
	rounds = 4
	// burst is the highest number of orders due within one window; more stay parked.
	burst = 100_000
	// gap is the least time between the last poll of one window and the first poll that
	// follows from it: enough to read the next due times.
	gap = 30 * time.Second
	// endings is how many polls a second end an order once the gateway has approved all:
	// about the limit of two cores, simulator and nats-server included.
	endings = 900
	// mostAhead is the highest number of orders due before the window: enough for one in
	// most blocks of the ledger's file.
	mostAhead = 3000
	// jitter is the jitter of the worker's waits.
	jitter = 0.2
)

// reading is the usage of worker and server while nothing happens.
type reading struct {
	worker, server       testbed.Usage
	workerCPU, serverCPU float64 // share of one core
	goroutines           int
}

// figures are the results of one size.
type figures struct {
	orders        int
	issued        int           // orders issued immediately in the same run, the warm-up included
	issuing       time.Duration // for those without the warm-up
	parking       time.Duration
	before, after reading

	// Lateness of polls: before the window, in it, and of the second polls.
	ahead, window, second stats.Spread
	early                 int // polls before their time
	polls                 int
	again                 int // polls beyond the due ones
	stayed                int // orders that were not due and have their wake-up at the end
	killed                bool

	lost, twice, afterClose, dead int
	left                          int // wake-ups and due messages that remain
}

// plan configures the measurement of a size.
type plan struct {
	window time.Duration // time in which the orders of a burst are due
	lead   time.Duration // time before the window in which a few more are due; 0: none are
	settle time.Duration // rest before memory is read
	idle   time.Duration // time over which CPU is measured while nothing is due
	kill   bool          // kill worker and server while the second polls are due
	gogc   int           // GOGC of nats-server, in percent; 0: its own
	// profiles is the directory for the worker's heap and CPU profiles; empty: none.
	profiles string
}

// serverEnv returns the additional environment of nats-server.
func (p plan) serverEnv() []string {
	if p.gogc == 0 {
		return nil
	}
	return []string{fmt.Sprint("GOGC=", p.gogc)}
}

// ahead returns how many orders beyond n are parked and due before the window: 3 %.
func (p plan) ahead(n int) int {
	if p.lead == 0 {
		return 0
	}
	return min(mostAhead, n*3/100)
}

// measure runs one size. hold must contain n requests and those ahead of the window.
// issue contains the requests for immediate issuance.
func (p plan) measure(ctx context.Context, s *site, hold, issue *requests, n int, say func(string, ...any)) (*figures, error) {
	f := &figures{orders: n + p.ahead(n), killed: p.kill}
	if err := s.start(ctx, schedule{wait: farAway}); err != nil {
		return nil, err
	}
	if err := p.park(ctx, s, hold, issue, f, say); err != nil {
		return nil, err
	}

	// A restarted worker finds every order in its place.
	d := newTimetable(hold, f.orders, p.ahead(n))
	second := schedule{wait: p.secondWait(n)}
	if err := s.restart(ctx, second); err != nil {
		return nil, err
	}
	if err := p.wake(ctx, s, d, say); err != nil {
		return nil, err
	}
	if p.kill {
		if err := killBoth(ctx, s, d, second, say); err != nil {
			return nil, err
		}
	}
	say("waiting for the results")
	if err := waitResults(ctx, s, d, f); err != nil {
		// check counts missing results as lost.
		say("%v", err)
	}
	return f, d.check(ctx, s, f, say)
}

// secondWait returns the worker's wait between the poll in the window and the next one.
// It is long enough for the window to end first. Its jitter is wide enough that at most
// endings polls are due in a second.
func (p plan) secondWait(n int) time.Duration {
	after := float64(p.lead+p.window+gap) / (1 - jitter)
	wide := float64(pacedBy(min(n, burst)+p.ahead(n), endings)) / (2 * jitter)
	return time.Duration(max(after, wide))
}

// pacedBy returns the time for n items at a rate per second.
func pacedBy(n, rate int) time.Duration {
	return time.Duration(n) * time.Second / time.Duration(rate)
}

// park makes the worker issue and park alternately, and reads its usage before and after.
func (p plan) park(ctx context.Context, s *site, hold, issue *requests, f *figures, say func(string, ...any)) error {
	say("warming up with %d requests", warmUp)
	if _, err := s.through(ctx, issue, 0, warmUp); err != nil {
		return err
	}
	f.issued = warmUp
	var err error
	if f.before, err = p.read(ctx, s); err != nil {
		return err
	}
	if err := p.profile(ctx, s, f.orders, "before"); err != nil {
		return err
	}
	some := min(len(issue.csrs)-warmUp, f.orders) / rounds
	for round := range rounds {
		took, err := s.through(ctx, issue, f.issued, f.issued+some)
		if err != nil {
			return err
		}
		f.issued, f.issuing = f.issued+some, f.issuing+took
		from, to := f.orders*round/rounds, f.orders*(round+1)/rounds
		if took, err = s.through(ctx, hold, from, to); err != nil {
			return err
		}
		f.parking += took
		say("%d parked, %.0f/s so far; %d issued beside them, %.0f/s", to, float64(to)/f.parking.Seconds(), f.issued-warmUp, f.issueRate())
	}
	parked, err := s.messages(ctx, s.layout.Parked)
	if err != nil {
		return err
	}
	if parked != f.orders {
		return fmt.Errorf("published %d orders to be parked, but %d wake-ups exist", f.orders, parked)
	}
	say("waiting for a scan of the watchdog, then resting")
	if err := s.looked(ctx); err != nil {
		return err
	}
	if f.after, err = p.read(ctx, s); err != nil {
		return err
	}
	return p.profile(ctx, s, f.orders, "after")
}

func (f *figures) issueRate() float64 {
	return float64(f.issued-warmUp) / f.issuing.Seconds()
}

// growth is the worker's memory with all orders parked minus that with none, in bytes.
func (f *figures) growth() int64 { return f.after.worker.RSS - f.before.worker.RSS }

func (f *figures) parkRate() float64 { return float64(f.orders) / f.parking.Seconds() }

// read reads the usage of worker and server, after a rest.
func (p plan) read(ctx context.Context, s *site) (reading, error) {
	var r reading
	if err := testbed.Sleep(ctx, p.settle); err != nil {
		return r, err
	}
	begun := time.Now()
	worker, err := s.worker.Usage()
	if err != nil {
		return r, err
	}
	server, err := s.server.Usage()
	if err != nil {
		return r, err
	}
	if err := testbed.Sleep(ctx, p.idle); err != nil {
		return r, err
	}
	if r.worker, err = s.worker.Usage(); err != nil {
		return r, err
	}
	if r.server, err = s.server.Usage(); err != nil {
		return r, err
	}
	took := time.Since(begun).Seconds()
	r.workerCPU = (r.worker.CPU - worker.CPU).Seconds() / took
	r.serverCPU = (r.server.CPU - server.CPU).Seconds() / took
	g, err := s.worker.Metric(ctx, "go_goroutines")
	r.goroutines = int(g)
	return r, err
}

func (p plan) profile(ctx context.Context, s *site, n int, when string) error {
	if p.profiles == "" {
		return nil
	}
	return s.worker.Profile(ctx, "heap?gc=1", filepath.Join(p.profiles, fmt.Sprintf("heap-%d-%s.pprof", n, when)))
}

// looked returns when the watchdog has ended a scan: it then writes its cursor to the
// control bucket.
func (s *site) looked(ctx context.Context) error {
	kv, err := s.js.KeyValue(ctx, s.layout.Control)
	if err != nil {
		return err
	}
	revision := func() (uint64, error) {
		e, err := kv.Get(ctx, "scan."+control.ScanRecent)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
		return e.Revision(), nil
	}
	first, err := revision()
	if err != nil {
		return err
	}
	return s.until(ctx, 200*time.Millisecond, longestLook, "the watchdog has ended a scan", func() (bool, error) {
		now, err := revision()
		return now > first, err
	})
}
