package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// timetable holds the due times of each order's polls.
type timetable struct {
	orders *requests
	n      int
	ahead  int // orders that are due before the window
	some   int // due orders including those before the window; the others stay parked
	// first and second are the times of the polls, by index; zero for an order that stays
	// parked.
	first, second []time.Time
	isDue         []bool
	begins        time.Time // start of the window
	quiet         time.Time // time between all first polls of the window and all second polls
	ends          time.Time // time of the last due poll
}

func newTimetable(orders *requests, n, ahead int) *timetable {
	return &timetable{
		orders: orders, n: n, ahead: ahead, some: ahead + min(n-ahead, burst),
		first: make([]time.Time, n), second: make([]time.Time, n), isDue: make([]bool, n),
	}
}

// wake makes up to burst orders due at random times within the window, and a few before
// it. The others keep their distant due times. wake returns when the window is over and
// the gateway has approved all orders.
func (p plan) wake(ctx context.Context, s *site, d *timetable, say func(string, ...any)) error {
	draw := rand.New(rand.NewPCG(1, uint64(d.n)))
	// Writing the wake-ups takes a while.
	ready := time.Now().Add(10*time.Second + pacedBy(d.some, 4000) + pacedBy(d.n, 20_000))
	d.begins = ready.Add(p.lead)
	for k, i := range draw.Perm(d.n)[:d.some] {
		from, within := d.begins, p.window
		if k < d.ahead {
			from, within = ready, p.lead
		}
		d.isDue[i] = true
		d.first[i] = from.Add(time.Duration(draw.Float64() * float64(within)))
	}
	say("setting when orders are due: %d within %v, %d in the %v before", d.some-d.ahead, p.window, d.ahead, p.lead)
	if err := s.setDue(ctx, d); err != nil {
		return err
	}
	if late := time.Since(ready); late > 0 {
		return fmt.Errorf("the wake-ups were written %v too late: this machine is too slow for the run", late)
	}
	if p.profiles != "" {
		if err := testbed.Sleep(ctx, time.Until(d.begins)); err != nil {
			return err
		}
		file := filepath.Join(p.profiles, fmt.Sprintf("cpu-%d-window.pprof", d.n))
		if err := s.worker.Profile(ctx, fmt.Sprintf("profile?seconds=%d", int(p.window.Seconds())), file); err != nil {
			return err
		}
	}
	if err := testbed.Sleep(ctx, time.Until(d.begins.Add(p.window))); err != nil {
		return err
	}
	before := s.gw.Stats().Polls
	if err := s.until(ctx, 100*time.Millisecond, gap, "the window's polls were made", func() (bool, error) {
		return s.gw.Stats().Polls >= d.some, nil
	}); err != nil {
		return err
	}
	d.quiet = time.Now()
	say("the window is over, %d polls came after its end; approving everything", d.some-before)
	if err := d.readSecond(ctx, s); err != nil {
		return err
	}
	_, err := s.gw.ApproveAll(0)
	d.ends = d.begins
	for i := range d.n {
		for _, t := range []time.Time{d.first[i], d.second[i]} {
			if t.After(d.ends) {
				d.ends = t
			}
		}
	}
	return err
}

// setDue schedules the wake-ups of the due orders again, at the times of the timetable,
// like `orders poll`.
func (s *site) setDue(ctx context.Context, d *timetable) error {
	g, writing := errgroup.WithContext(ctx)
	g.SetLimit(64)
	written := make([]bool, d.n)
	left := 0
	for i := range d.n {
		if !d.first[i].IsZero() {
			left++
		}
	}
	for found, err := range s.wakeups.All(writing) {
		if err != nil {
			return errors.Join(err, g.Wait())
		}
		i, ok := d.orders.index(found.Key.ID)
		if !ok || d.first[i].IsZero() || written[i] {
			continue // a rewritten wake-up moves ahead of the scan
		}
		written[i] = true
		left--
		w := *found.Wakeup
		w.Due = d.first[i].UTC()
		g.Go(func() error { return s.wakeups.Schedule(writing, &w) })
		if left == 0 {
			break
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if left > 0 {
		return fmt.Errorf("%d parked orders have no wake-up", left)
	}
	return nil
}

// readSecond reads the second due times of the due orders: the worker has parked them
// again.
func (d *timetable) readSecond(ctx context.Context, s *site) error {
	left := d.some
	// The last orders may still be between their poll and their wake-up.
	return s.until(ctx, 500*time.Millisecond, gap/2, "the orders that were due are parked again", func() (bool, error) {
		for found, err := range s.wakeups.All(ctx) {
			if err != nil {
				return false, err
			}
			i, ok := d.orders.index(found.Key.ID)
			if !ok || !d.isDue[i] || found.Fired || found.Polls != 1 || !d.second[i].IsZero() {
				continue
			}
			d.second[i] = found.Due
			left--
		}
		return left == 0, nil
	})
}

// killBoth kills the worker and then the server while the second polls are due, and
// restarts each.
func killBoth(ctx context.Context, s *site, d *timetable, sched schedule, say func(string, ...any)) error {
	from := d.ends
	for i := range d.n {
		if d.isDue[i] && d.second[i].Before(from) {
			from = d.second[i]
		}
	}
	third := d.ends.Sub(from) / 3
	if err := testbed.Sleep(ctx, time.Until(from.Add(third))); err != nil {
		return err
	}
	say("killing the worker")
	s.worker.Kill()
	if err := testbed.Sleep(ctx, time.Second); err != nil {
		return err
	}
	if err := s.start(ctx, sched); err != nil {
		return err
	}
	if err := testbed.Sleep(ctx, time.Until(from.Add(2*third))); err != nil {
		return err
	}
	say("killing nats-server")
	return killFor(ctx, s.server, 2*time.Second)
}

// waitResults returns when every due order has its result and only the others are parked,
// or when there was no progress for a while.
func waitResults(ctx context.Context, s *site, d *timetable, f *figures) error {
	if err := testbed.Sleep(ctx, time.Until(d.ends)); err != nil {
		return err
	}
	want, stay := f.issued+d.some, d.n-d.some
	for last := -1; ; {
		results, done := 0, false
		err := s.until(ctx, time.Second, 4*time.Minute, "every order has its result", func() (bool, error) {
			var err error
			if results, err = s.messages(ctx, s.layout.Results); err != nil {
				return false, err
			}
			parked, err := s.messages(ctx, s.layout.Parked)
			done = results >= want && parked == stay
			return done || results > last, err
		})
		if err != nil || done {
			return err
		}
		last = results
		if err := testbed.Sleep(ctx, time.Second); err != nil {
			return err
		}
	}
}
