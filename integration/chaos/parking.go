package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/testbed/oracle"
	"github.com/entrust-worker/entrust-worker/internal/testbed/rig"
)

const (
	// parkingWithin bounds one seed. The watchdog treats a schedule as stuck after a
	// minute.
	parkingWithin = 5 * time.Minute
	// producers is the number of concurrent publishers.
	producers = 8
	// stillUnderWay is how long after an order's close a poll may arrive that began
	// before it: a due message that lost its leader is delivered to the other worker too.
	// A wrong poll of a closed order would come with its next wake-up, a second later.
	stillUnderWay = 250 * time.Millisecond
)

func setupParking(context.Context, *run) (setup, error) {
	return setup{
		servers: 3, workers: 2, gateway: gatewaytest.Config{Dialect: gatewaytest.CertCtl},
		settings: rig.Settings{
			Dialect: "certctl", PollFirst: time.Second, PollMax: 3 * time.Second,
			// An election takes up to 9 s. With a longer lease, an order enrolled during
			// an election is not held.
			MaxWait: 30 * time.Minute, EnrollTimeout: 15 * time.Second,
		},
	}, nil
}

// playParking publishes orders, approves them and kills leaders until all orders have a
// result or the time is over. The oracle reports missing results.
func playParking(ctx context.Context, r *run) (*tally, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, parkingWithin, fmt.Errorf("the seed took longer than %v", parkingWithin))
	defer cancel()
	for i := range r.options.orders {
		r.parked = append(r.parked, oracle.NewIssue(fmt.Sprintf("order-%d", i), "hold", entrustbus.OutcomeIssued))
	}
	kills, err := r.park(ctx)
	if err != nil {
		return nil, err
	}
	return r.checkParking(ctx, kills)
}

func (r *run) park(ctx context.Context) (kills int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	all.Go(func() { r.approve(ctx) })

	failed := make([]error, producers)
	var publishing sync.WaitGroup
	for p := range producers {
		publishing.Go(func() {
			for i := p; i < len(r.parked) && failed[p] == nil; i += producers {
				failed[p] = r.site.Submit(ctx, r.parked[i])
			}
		})
	}
	k := &killer{run: r, rnd: rand.New(rand.NewPCG(r.seed, 0))}
	kills, err = k.kill(ctx)
	publishing.Wait()
	if err := errors.Join(append(failed, err)...); err != nil {
		return kills, err
	}
	return kills, r.site.CaughtUp(ctx)
}

// approve approves each order after polls-1 polls, so that the next poll returns its
// certificate.
func (r *run) approve(ctx context.Context) {
	done := map[string]bool{}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for p := range r.gateway.Polls() {
			if p.Count >= r.polls-1 && !done[p.TrackingID] {
				done[p.TrackingID] = r.gateway.Approve(p.TrackingID) == nil
			}
		}
	}
}

// checkParking asks the oracle and adds its own counts. A run proves nothing if it killed
// no leader, or polled an order too rarely.
func (r *run) checkParking(ctx context.Context, kills int) (*tally, error) {
	report, err := r.site.Check(ctx, r.parked)
	if err != nil {
		return nil, err
	}
	t := tallyOf(report)
	t.parking, t.kills, t.across = true, kills, report.LatePolls
	byName := map[string]int{}
	for p := range r.gateway.Polls() {
		byName[p.CN] += p.Count
		t.polls += p.Count
	}
	var each []int // polls of one order
	for _, o := range r.parked {
		csr, err := o.Request.(*entrustbus.Issue).CertificateRequest()
		if err != nil {
			return nil, err
		}
		each = append(each, byName[csr.Subject.CommonName])
	}
	t.fewest = slices.Min(each)
	// The oracle may have used all of the seed's time.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	late, err := r.site.PolledAfterClose(ctx, r.parked, stillUnderWay)
	if err != nil {
		return nil, err
	}
	t.late = len(late)
	report.Findings = append(report.Findings, late...)
	if t.repaired, err = r.repaired(); err != nil {
		return nil, err
	}
	if t.kills == 0 {
		report.Findings = append(report.Findings, "no leader was killed while orders were due")
	}
	if t.fewest < r.polls {
		report.Findings = append(report.Findings, fmt.Sprintf("an order was polled %d times, fewer than %d", t.fewest, r.polls))
	}
	return t, nil
}

// scheduledAgain matches the log line of a watchdog that scheduled wake-ups again.
var scheduledAgain = regexp.MustCompile(`msg="repaired wake-ups" stuck=(\d+) lost=(\d+)`)

// repaired counts the wake-ups that watchdogs scheduled again.
func (r *run) repaired() (n int, err error) {
	for _, w := range r.site.Workers() {
		log, err := os.ReadFile(w.Log)
		if err != nil {
			return 0, err
		}
		for _, m := range scheduledAgain.FindAllSubmatch(log, -1) {
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
