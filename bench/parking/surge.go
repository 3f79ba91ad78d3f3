package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/testbed/stats"
)

const (
	// newcomer is the producer of the new requests during a surge.
	newcomer = "fresh"
	// freshEvery is the interval between two of them.
	freshEvery = 50 * time.Millisecond
	// freshBefore is how long they run before the surge, for comparison.
	freshBefore = 20 * time.Second
	// mostFresh bounds the p99 of their latency during the surge.
	mostFresh = time.Second
	// surgeWait is the wait before the next poll: the worker's longest by default.
	surgeWait = 5 * time.Minute
)

// surge is the result for orders that were all due at the same time.
type surge struct {
	orders        int
	rate          float64
	took          time.Duration // from the due time to the last poll
	busiest       int           // highest number of polls in one second
	early, missed int
	again         int // highest number of second polls in one second
	span          time.Duration
	before, amid  stats.Spread // latency of new requests
	unanswered    int
}

// measureSurge parks n orders, makes all of them due at the same time, and sends new
// requests meanwhile. rate limits the worker's calls to the gateway per second.
func measureSurge(ctx context.Context, s *site, hold, issue *requests, n int, rate float64, say func(string, ...any)) (*surge, error) {
	r := &surge{orders: n, rate: rate}
	if err := s.start(ctx, schedule{wait: farAway}); err != nil {
		return nil, err
	}
	say("parking %d orders", n)
	if _, err := s.through(ctx, hold, 0, n); err != nil {
		return nil, err
	}
	if err := s.restart(ctx, schedule{wait: surgeWait, rate: rate}); err != nil {
		return nil, err
	}
	d := newTimetable(hold, n, 0)
	d.begins = time.Now().Add(freshBefore + 10*time.Second + time.Duration(n)*time.Second/5000).Truncate(time.Second)
	for i := range d.first {
		d.first[i] = d.begins
	}
	say("making all orders due at the same time")
	if err := s.setDue(ctx, d); err != nil {
		return nil, err
	}
	if time.Until(d.begins) < freshBefore {
		return nil, errors.New("the wake-ups were written too late: this machine is too slow for the run")
	}
	if err := testbed.Sleep(ctx, time.Until(d.begins.Add(-freshBefore))); err != nil {
		return nil, err
	}
	f, err := s.newcomers(issue)
	if err != nil {
		return nil, err
	}
	defer f.stop()
	send, stop := context.WithCancel(ctx)
	defer stop()
	sent := make(chan error, 1)
	go func() { sent <- f.send(send) }()
	if err := testbed.Sleep(ctx, time.Until(d.begins)); err != nil {
		return nil, err
	}
	say("all are due")
	err = s.until(ctx, 100*time.Millisecond, 20*time.Minute, "every order was polled", func() (bool, error) {
		return s.gw.Stats().Polls >= n, nil
	})
	ended := time.Now()
	stop()
	if err := errors.Join(err, <-sent, testbed.Sleep(ctx, 2*time.Second)); err != nil {
		return nil, err
	}
	f.check(d.begins, ended, r)
	r.checkPolls(s, d)
	return r, r.checkNext(ctx, s, d)
}

// checkPolls reads the times of the polls.
func (r *surge) checkPolls(s *site, d *timetable) {
	perSecond := map[int64]int{}
	polled := 0
	for record := range s.gw.Polls() {
		polled++
		at := record.Times[0]
		if at.Before(d.begins) {
			r.early++
		}
		r.took = max(r.took, at.Sub(d.begins))
		perSecond[at.Unix()]++
		r.busiest = max(r.busiest, perSecond[at.Unix()])
	}
	r.missed = r.orders - polled
}

// checkNext reads the times of the next polls: they must be spread, not in one second
// again.
func (r *surge) checkNext(ctx context.Context, s *site, d *timetable) error {
	perSecond := map[int64]int{}
	var first, last time.Time
	for found, err := range s.wakeups.All(ctx) {
		if err != nil {
			return err
		}
		due := found.Due
		if _, ok := d.orders.index(found.Key.ID); !ok || found.Fired || due.Equal(d.begins) {
			continue
		}
		if first.IsZero() || due.Before(first) {
			first = due
		}
		if due.After(last) {
			last = due
		}
		perSecond[due.Unix()]++
		r.again = max(r.again, perSecond[due.Unix()])
	}
	r.span = last.Sub(first)
	return nil
}

// fresh sends new requests at a constant rate and records when each was answered.
type fresh struct {
	site   *site
	orders *requests
	sub    *nats.Subscription

	mu       sync.Mutex
	sent     []time.Time
	answered []time.Time
}

func (s *site) newcomers(issue *requests) (*fresh, error) {
	f := &fresh{site: s, orders: issue, answered: make([]time.Time, len(issue.csrs))}
	var err error
	// The subscription also receives the stream's own messages; nothing has to be
	// fetched.
	f.sub, err = s.nc.Subscribe(s.layout.Subjects().Result(newcomer, "*"), func(m *nats.Msg) {
		now := time.Now()
		_, id, err := s.layout.Subjects().ParseOrder(m.Subject)
		if err != nil {
			return
		}
		if i, ok := issue.index(id); ok {
			f.mu.Lock()
			f.answered[i] = now
			f.mu.Unlock()
		}
	})
	return f, err
}

func (f *fresh) stop() { _ = f.sub.Unsubscribe() }

// send publishes one request every freshEvery until ctx ends.
func (f *fresh) send(ctx context.Context) error {
	subject := f.site.layout.Subjects().Request(newcomer, entrustbus.KindIssue)
	tick := time.NewTicker(freshEvery)
	defer tick.Stop()
	for i := range f.orders.csrs {
		body, err := f.orders.body(i)
		if err != nil {
			return err
		}
		f.mu.Lock()
		f.sent = append(f.sent, time.Now())
		f.mu.Unlock()
		if _, err := f.site.js.Publish(context.WithoutCancel(ctx), subject, body, jetstream.WithMsgID(entrustbus.RequestMsgID(newcomer, f.orders.id(i), 0))); err != nil {
			return fmt.Errorf("publishing a new request: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
	return nil
}

// check divides the latencies into those before the surge and those during it.
func (f *fresh) check(begins, ends time.Time, r *surge) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, sent := range f.sent {
		switch took := f.answered[i].Sub(sent); {
		case f.answered[i].IsZero():
			r.unanswered++
		case sent.Before(begins.Add(-time.Second)):
			r.before.Add(took)
		case sent.Before(ends):
			r.amid.Add(took)
		}
	}
}

func (r *surge) section() section {
	t := stats.Table{Header: []string{
		"due at once", "calls/s at most", "worked off in", "busiest second", "next polls spread over", "busiest second",
		"new requests", "p50 before", "p99 before", "p50 amid", "p99 amid", "max amid",
	}}
	limit := "no limit"
	if r.rate > 0 {
		limit = fmt.Sprintf("%.0f", r.rate)
	}
	t.Add(thousands(r.orders), limit, short(r.took), thousands(r.busiest), short(r.span), thousands(r.again),
		thousands(r.before.Len()+r.amid.Len()), short(r.before.At(0.5)), short(r.before.At(0.99)),
		short(r.amid.At(0.5)), short(r.amid.At(0.99)), short(r.amid.At(1)))
	return section{
		"Surge", fmt.Sprintf("All orders due in the same instant, as after an outage, while a new request comes every %v.", freshEvery), t,
	}
}

func (r *surge) missing() []string {
	var all []string
	miss := func(format string, args ...any) { all = append(all, "surge: "+fmt.Sprintf(format, args...)) }
	if r.early > 0 {
		miss("%d orders were polled early", r.early)
	}
	if r.missed > 0 {
		miss("%d orders were not polled", r.missed)
	}
	if r.unanswered > 0 {
		miss("%d new requests had no result", r.unanswered)
	}
	if p99 := r.amid.At(0.99); p99 > mostFresh {
		miss("new requests took %s at p99, more than %s", short(p99), short(mostFresh))
	}
	// A second of the clock can contain the end of one burst and the whole next burst.
	if most := int(1.2*r.rate) + 1; r.rate > 0 && r.busiest > most {
		miss("%d polls in one second, more than the rate allows: %d", r.busiest, most)
	}
	return all
}
