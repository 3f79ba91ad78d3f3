package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/testbed/oracle"
	"github.com/entrust-worker/entrust-worker/internal/testbed/rig"
)

const (
	hour = time.Hour
	year = 365 * 24 * hour
	// clockDeadline is the deadline of the orders that stay without approval.
	clockDeadline = 8 * time.Second
)

// setupClocks runs one worker with a right clock and three with wrong clocks. The
// gateway's certificates are valid by all of these clocks: the scenario does not cover
// TLS with a wrong clock.
func setupClocks(ctx context.Context, r *run) (setup, error) {
	bin, err := r.tools.skewed(ctx)
	if err != nil {
		return setup{}, err
	}
	rnd := r.draws(1)
	skews := []time.Duration{3 * hour, -3 * hour, 20 * hour, -20 * hour, 2 * year, -2 * year, time.Minute, -time.Minute}
	rnd.Shuffle(len(skews), func(i, j int) { skews[i], skews[j] = skews[j], skews[i] })
	skews = append([]time.Duration{0}, skews[:3]...)
	dialect := []gatewaytest.Dialect{gatewaytest.CertCtl, gatewaytest.CAGW}[rnd.IntN(2)]
	r.say("dialect %s, clocks ahead by %v", dialect, skews)
	return setup{
		servers: 1, workers: len(skews),
		gateway: gatewaytest.Config{
			Dialect: dialect, Seed: r.seed, Age: 3 * year, ApproveAfter: 3 * time.Second,
			Latency: 5 * time.Millisecond, LatencyJitter: 300 * time.Millisecond,
		},
		settings: rig.Settings{Concurrency: 8, MaxWait: 20 * time.Minute},
		worker:   func(i int, s *rig.Settings) { s.Binary, s.Skew = bin, skews[i] },
	}, nil
}

// playClocks kills workers, so that leases pass from one clock to another. It makes the
// gateway ask for pauses, in seconds and as a date, and lets orders reach their
// deadlines.
func playClocks(ctx context.Context, r *run) (*tally, error) {
	rnd := r.draws(10)
	pause := func(name string, f gatewaytest.Fault) phase {
		f.Kind, f.RetryAfter = gatewaytest.FaultThrottle, 2*time.Second
		return phase{name, r.span / 30, 0, r.spoil(f)}
	}
	list := []phase{
		pause("the gateway asks for a pause", gatewaytest.Fault{}),
		pause("the gateway asks for a pause until a date", gatewaytest.Fault{RetryAfterDate: true}),
		{"the gateway answers 503", r.span / 15, 0, r.spoil(gatewaytest.Fault{Kind: gatewaytest.FaultStatus, Status: 503})},
	}
	rnd.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	orders, err := r.beside(ctx, withDeadlines, func(ctx context.Context) error {
		kills, end := context.WithTimeout(ctx, r.span)
		defer end()
		return r.underKills(kills, 5*time.Second, func() error { return r.phases(ctx, r.span/6, list...) })
	})
	if err != nil {
		return nil, err
	}
	t, err := r.finish(ctx, orders)
	if err != nil {
		return nil, err
	}
	for _, o := range orders {
		if res := t.Results[o.Key()]; res != nil {
			r.checkTimes(t, o, res)
		}
	}
	return t, r.checkClocks(t)
}

// withDeadlines makes orders. Every fifth order stays without approval beyond its
// deadline.
func withDeadlines(i int) *oracle.Order {
	if i%5 > 0 {
		return mixed(i)
	}
	o := oracle.NewIssue(fmt.Sprintf("order-%d", i), "hold", entrustbus.OutcomeExpired)
	o.Request.(*entrustbus.Issue).PollMaxWaitSeconds = int64(clockDeadline / time.Second)
	return o
}

// checkTimes checks that the times of a result are right by this machine's clock, and
// that no deadline came early.
func (r *run) checkTimes(t *tally, o *oracle.Order, res *entrustbus.Result) {
	// The worker measures the server's clock, with an error below the round trip.
	const uncertain = time.Second
	for name, at := range map[string]time.Time{"requested": res.RequestedAt, "submitted": res.SubmittedAt, "finished": res.FinishedAt} {
		if at.Before(r.begun.Add(-uncertain)) || at.After(time.Now().Add(uncertain)) {
			t.find("%s was %s at %v, by its result: that is not within this run", o.ID(), name, at)
		}
	}
	if there, ok := r.gateway.Enrollment(o.KeyHash); ok && res.Outcome == entrustbus.OutcomeExpired {
		if after := res.FinishedAt.Sub(there.Enrolled[0]); after < clockDeadline-uncertain {
			t.find("%s expired after %v, before its deadline of %v", o.ID(), after, clockDeadline)
		}
	}
}

// logTime matches the time in a worker's log.
var logTime = regexp.MustCompile(`(?m)^time=(\S+) `)

// checkClocks checks that the workers' clocks were wrong: otherwise the run proves
// nothing.
func (r *run) checkClocks(t *tally) error {
	for i := range r.setup.workers {
		var s rig.Settings
		r.setup.worker(i, &s)
		w := r.worker(i)
		log, err := os.ReadFile(w.Log)
		if err != nil {
			return err
		}
		m := logTime.FindSubmatch(log)
		if m == nil {
			t.find("the log %s shows no time", w.Log)
			continue
		}
		at, err := time.Parse(time.RFC3339Nano, string(m[1]))
		if err != nil {
			return fmt.Errorf("reading %s: %w", w.Log, err)
		}
		if off := at.Sub(r.begun) - s.Skew; off < -5*time.Minute || off > r.span+settling {
			t.find("the clock of worker %d was not %v ahead: its log begins at %v", i, s.Skew, at)
		}
	}
	return nil
}

// underKills kills random workers, on average every so often, and restarts each, while do
// runs and until ctx ends. It returns do's error.
func (r *run) underKills(ctx context.Context, every time.Duration, do func() error) error {
	done := make(chan error, 1)
	go func() { done <- do() }()
	rnd := r.draws(20)
	for testbed.Sleep(ctx, between(rnd, every/2, 3*every/2)) == nil {
		i, pause := rnd.IntN(r.setup.workers), between(rnd, 0, 1500*time.Millisecond)
		r.say("worker %d killed", i)
		r.count("worker killed")
		r.worker(i).Kill() // the site records the fault
		_ = testbed.Sleep(ctx, pause)
		if err := r.startWorker(i); err != nil {
			return err
		}
	}
	return <-done
}
