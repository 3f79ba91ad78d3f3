package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/integration/harness"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/natstest"
)

const (
	// within bounds one seed. The watchdog takes a slot for stuck after a minute.
	within = 5 * time.Minute
	// workers is how many there are; they are not disturbed.
	workers = 2
	// producers publish at once.
	producers = 8
	// underWay is how long after an order's close a poll may come that had begun
	// before: a wake-up that lost its leader is given to the other worker too. What
	// does poll an order that is closed comes with its next slot, a second later.
	underWay = 250 * time.Millisecond
)

// scene is what one seed plays on.
type scene struct {
	options
	begun   time.Time
	cluster *natstest.Cluster
	gateway *gatewaytest.Server
	site    *harness.Site
	orders  []*harness.Order
}

// run plays one seed and prints its line, and what was broken below it.
func run(ctx context.Context, o options, worker string, w io.Writer) (tally, error) {
	whole := ctx
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("the seed took longer than %v", within))
	defer cancel()
	begun := time.Now()
	dir, err := os.MkdirTemp(o.logs, fmt.Sprintf("parkrun-%d-", o.seed))
	if err != nil {
		return tally{}, err
	}
	s, closeAll, err := open(ctx, o, worker, dir)
	defer closeAll()
	if err != nil {
		return tally{}, err
	}
	s.begun = begun
	kills, err := s.play(ctx)
	var t tally
	var verdict *harness.Verdict
	if err == nil {
		t, verdict, err = s.judge(ctx, kills)
	}
	if whole.Err() != nil { // nobody waits for an account of what was broken off
		_ = os.RemoveAll(dir)
		return tally{}, context.Cause(whole)
	}
	if err != nil {
		s.histories(ctx, w)
		return tally{}, fmt.Errorf("%w; the workers' logs are in %s", err, dir)
	}
	t.took = time.Since(begun)
	fmt.Fprintf(w, "seed %d: %s\n", o.seed, t)
	for _, f := range verdict.Findings {
		fmt.Fprintln(w, "  BROKEN", f)
	}
	for _, n := range verdict.Notes {
		fmt.Fprintln(w, "  note  ", n)
	}
	switch {
	case !t.good:
		s.histories(ctx, w)
		fmt.Fprintln(w, "  the workers' logs are in", dir)
	case o.logs == "":
		_ = os.RemoveAll(dir)
	}
	return t, nil
}

// open starts servers, gateway and workers. The function that it returns ends
// them, and is never nil.
func open(ctx context.Context, o options, worker, dir string) (*scene, func(), error) {
	var ends []func()
	closeAll := func() {
		for i := len(ends) - 1; i >= 0; i-- {
			ends[i]()
		}
	}
	store, err := os.MkdirTemp("", "parkrun-nats-")
	if err != nil {
		return nil, closeAll, err
	}
	ends = append(ends, func() { _ = os.RemoveAll(store) })
	s := &scene{options: o}
	if s.cluster, err = natstest.RunCluster(natstest.ClusterConfig{Dir: store, Process: true}); err != nil {
		return nil, closeAll, err
	}
	ends = append(ends, s.cluster.Stop)
	if s.gateway, err = gatewaytest.Start(gatewaytest.Config{Dialect: gatewaytest.CertCtl}); err != nil {
		return nil, closeAll, err
	}
	ends = append(ends, func() { _ = s.gateway.Close() })
	// A producer whose server is killed hears of it at once; one whose server
	// hangs, within two pings.
	nc, err := s.cluster.Connect(nats.PingInterval(time.Second))
	if err != nil {
		return nil, closeAll, err
	}
	ends = append(ends, nc.Close)
	s.site, err = harness.Open(ctx, harness.Config{
		Name: "parkrun", NATS: nc, WorkerNATS: s.cluster.URL(), Gateway: s.gateway, Binary: worker, Dir: dir, Replicas: 3,
		Settings: harness.Settings{
			Dialect: "certctl", PollFirst: time.Second, PollMax: 3 * time.Second,
			// An election takes up to 9 s: a lease that outlasts it keeps an order
			// that was enrolled meanwhile from being held.
			MaxWait: 30 * time.Minute, EnrollTimeout: 15 * time.Second,
		},
	})
	if err != nil {
		return nil, closeAll, err
	}
	ends = append(ends, s.site.Close)
	for range workers {
		if _, err := s.site.StartWorker(nil); err != nil {
			return nil, closeAll, err
		}
	}
	for i := range o.orders {
		s.orders = append(s.orders, harness.NewIssue(fmt.Sprintf("order-%d", i), "hold", entrustbus.OutcomeIssued))
	}
	return s, closeAll, nil
}

// play publishes the orders, approves them and kills leaders until all have a
// result, or ctx ends; what is missing then is the oracle's to tell.
func (s *scene) play(ctx context.Context) (kills int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	all.Go(func() { s.approve(ctx) })

	failed := make([]error, producers)
	var publishing sync.WaitGroup
	for p := range producers {
		publishing.Go(func() {
			for i := p; i < len(s.orders) && failed[p] == nil; i += producers {
				failed[p] = s.site.Submit(ctx, s.orders[i])
			}
		})
	}
	k := &killer{scene: s, rnd: rand.New(rand.NewPCG(s.seed, 0))}
	kills, err = k.kill(ctx)
	publishing.Wait()
	if err := errors.Join(append(failed, err)...); err != nil {
		return kills, err
	}
	return kills, s.site.CaughtUp(ctx)
}

// tell says what happens, for those who want to know.
func (s *scene) tell(format string, args ...any) {
	if s.verbose {
		fmt.Fprintf(os.Stderr, "%8.3fs %s\n", time.Since(s.begun).Seconds(), fmt.Sprintf(format, args...))
	}
}

// approve approves each order when it has been polled one time less than it is to
// be, so that the next poll brings its certificate.
func (s *scene) approve(ctx context.Context) {
	done := map[string]bool{}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for p := range s.gateway.Polls() {
			if p.Count >= s.polls-1 && !done[p.TrackingID] {
				done[p.TrackingID] = s.gateway.Approve(p.TrackingID) == nil
			}
		}
	}
}

// judge asks the oracle, and counts what it does not. A run in which no leader was
// killed, or an order was not polled as often as it was to be, shows nothing.
func (s *scene) judge(ctx context.Context, kills int) (tally, *harness.Verdict, error) {
	v, err := s.site.Judge(ctx, s.orders)
	if err != nil {
		return tally{}, nil, err
	}
	t := tally{
		orders: len(s.orders), kills: kills, lost: v.Lost, doubles: v.DoubleEnrollments, seconds: v.SecondResults, early: v.EarlyPolls, held: v.HeldUnconfirmed,
	}
	counts := map[string]int{}
	var each []int // polls of one order
	for p := range s.gateway.Polls() {
		counts[p.CN] += p.Count
		t.polls += p.Count
	}
	for _, o := range s.orders {
		q := o.Request.(*entrustbus.Issue)
		csr, err := q.CertificateRequest()
		if err != nil {
			return tally{}, nil, err
		}
		n := counts[csr.Subject.CommonName]
		each = append(each, n)
	}
	t.fewest = slices.Min(each)
	// The oracle may have used up the seed's time while it waited.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	late, err := s.site.PolledAfterClose(ctx, s.orders, underWay)
	if err != nil {
		return tally{}, nil, err
	}
	t.late, t.across = len(late), v.LatePolls
	v.Findings = append(v.Findings, late...)
	if t.repaired, err = s.repaired(); err != nil {
		return tally{}, nil, err
	}
	if t.kills == 0 {
		v.Findings = append(v.Findings, "no leader was killed while orders were due")
	}
	if t.fewest < s.polls {
		v.Findings = append(v.Findings, fmt.Sprintf("an order was polled %d times, fewer than %d", t.fewest, s.polls))
	}
	t.good = v.Good()
	return t, v, nil
}

// armedAgain is what a worker logs when its watchdog put slots right.
var armedAgain = regexp.MustCompile(`msg="armed slots again" stuck=(\d+) lost=(\d+)`)

// repaired counts the slots that the watchdogs armed again.
func (s *scene) repaired() (n int, err error) {
	for _, w := range s.site.Workers() {
		log, err := os.ReadFile(w.Log)
		if err != nil {
			return 0, err
		}
		for _, m := range armedAgain.FindAllSubmatch(log, -1) {
			for _, count := range m[1:] {
				i, err := strconv.Atoi(string(count))
				if err != nil {
					return 0, err
				}
				n += i
			}
		}
	}
	return n, nil
}
