package main

import (
	"context"
	"fmt"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/testbed/oracle"
)

// check compares the due orders with the simulator's records and the final content of the
// streams. It does not ask the worker.
func (d *timetable) check(ctx context.Context, s *site, f *figures, say func(string, ...any)) error {
	// A poll after an order's end would come within this time.
	if err := testbed.Sleep(ctx, 2*time.Second); err != nil {
		return err
	}
	closed, err := d.results(ctx, s, f)
	if err != nil {
		return err
	}
	for record := range s.gw.Polls() {
		i, ok := d.orders.index(record.CN)
		if !ok || i >= d.n {
			continue
		}
		d.checkPolls(i, record.Times, closed[i], f)
	}
	f.twice += s.gw.Stats().Duplicates
	if f.dead, err = s.messages(ctx, s.layout.Dead); err != nil {
		return err
	}
	return d.parked(ctx, s, closed, f, say)
}

// parked checks the parked orders. A due order must have a result and no wake-up; any
// other must have its wake-up and no result. Otherwise the order is lost. Leftover
// messages are counted, and the first ones described.
func (d *timetable) parked(ctx context.Context, s *site, closed []time.Time, f *figures, say func(string, ...any)) error {
	waits := make([]bool, d.n)
	for found, err := range s.wakeups.All(ctx) {
		if err != nil {
			return err
		}
		if i, ok := d.orders.index(found.Key.ID); ok && i < d.n && !d.isDue[i] && !waits[i] && !found.Fired && found.Polls == 0 {
			waits[i] = true
			f.stayed++
			continue
		}
		if f.left++; f.left > 5 {
			continue
		}
		say("left over: %s, fired %v, after %d polls, due %s, sequence %d", found.Key, found.Fired, found.Polls, found.Due.Format(time.TimeOnly), found.Sequence)
	}
	for i := range d.n {
		switch {
		case d.isDue[i] && closed[i].IsZero(), !d.isDue[i] && !waits[i]:
			f.lost++
		case !d.isDue[i] && !closed[i].IsZero():
			f.twice++
		}
	}
	if f.left == 0 {
		return nil
	}
	cons, err := s.js.Consumer(ctx, s.layout.Parked, streams.ConsumerPoll)
	if err != nil {
		return err
	}
	info := cons.CachedInfo()
	say("left over: %d in all; the consumer has %d to deliver, %d unacknowledged, acknowledged up to %d", f.left, info.NumPending, info.NumAckPending, info.AckFloor.Stream)
	return nil
}

// results reads when each order ended, and counts second results.
func (d *timetable) results(ctx context.Context, s *site, f *figures) ([]time.Time, error) {
	closed := make([]time.Time, d.n)
	issued := 0
	for m, err := range streams.Scan(ctx, s.js, s.layout.Results, s.layout.Subjects().Result(producer, "*")) {
		if err != nil {
			return nil, err
		}
		r, err := oracle.Decode(m.Header, m.Data)
		if err != nil {
			return nil, err
		}
		if r.Outcome != entrustbus.OutcomeIssued {
			return nil, fmt.Errorf("order %s ended as %s", r.ID, r.Outcome)
		}
		i, ok := d.orders.index(r.ID)
		switch {
		case !ok:
			issued++
		case !closed[i].IsZero():
			f.twice++
		default:
			closed[i] = m.Time
		}
	}
	f.lost += max(0, f.issued-issued)
	return closed, nil
}

// checkPolls compares the polls of one order with their due times. An order that stays
// parked has none.
func (d *timetable) checkPolls(i int, polls []time.Time, closed time.Time, f *figures) {
	f.polls += len(polls)
	if !d.isDue[i] {
		f.early += len(polls)
		return
	}
	f.again += max(0, len(polls)-2)
	for _, at := range polls {
		if !closed.IsZero() && at.After(closed) {
			f.afterClose++
		}
	}
	served := func(due time.Time, polls []time.Time, to interface{ Add(time.Duration) }) {
		if len(polls) == 0 || due.IsZero() {
			return // without a result it counts as lost
		}
		late := polls[0].Sub(due)
		if late < 0 {
			f.early++
		}
		to.Add(late)
	}
	before := 0
	for before < len(polls) && polls[before].Before(d.quiet) {
		before++
	}
	first := &f.window
	if d.first[i].Before(d.begins) {
		first = &f.ahead
	}
	served(d.first[i], polls[:before], first)
	served(d.second[i], polls[before:], &f.second)
}
