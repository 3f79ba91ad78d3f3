package rig

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/testbed/oracle"
)

// CaughtUp waits until every replica of the site's streams and consumers has all data of
// its leader, so that another server may go. The oracle reads from any replica: after a
// site lost a server, call CaughtUp before the check.
func (s *Site) CaughtUp(ctx context.Context) error {
	l := s.Layout
	groups := map[string][]string{
		l.Requests: {streams.ConsumerIssue, streams.ConsumerRevoke, streams.ConsumerManage},
		l.Parked:   {streams.ConsumerPoll, streams.ConsumerResubmit, streams.ConsumerRevokeAgain, streams.ConsumerManageAgain},
		l.Results:  nil, l.Dead: nil, "KV_" + l.Orders: nil, "KV_" + l.Control: nil,
		"KV_" + l.Certs: nil, "KV_" + l.Keys: nil,
	}
	var why error // the last known lag, instead of the timeout
	return testbed.Until(ctx, "every replica has caught up", func() (bool, error) {
		for stream, consumers := range groups {
			if err := s.current(ctx, stream, consumers); err != nil {
				if why == nil || ctx.Err() == nil {
					why = err
				}
				return false, why
			}
		}
		return true, nil
	})
}

// current returns an error that names the lag of a stream or of one of its consumers.
func (s *Site) current(ctx context.Context, stream string, consumers []string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	st, err := s.JS.Stream(ctx, stream)
	if err != nil {
		return fmt.Errorf("reading the stream %s: %w", stream, err)
	}
	if err := lacks(stream, st.CachedInfo().Cluster, s.Replicas); err != nil {
		return err
	}
	for _, name := range consumers {
		c, err := st.Consumer(ctx, name)
		if err != nil {
			return fmt.Errorf("reading the consumer %s: %w", name, err)
		}
		if err := lacks(name, c.CachedInfo().Cluster, s.Replicas); err != nil {
			return err
		}
	}
	return nil
}

func lacks(what string, c *jetstream.ClusterInfo, replicas int) error {
	if replicas == 1 {
		return nil
	}
	if c == nil || c.Leader == "" {
		return fmt.Errorf("%s has no leader", what)
	}
	if n := 1 + len(c.Replicas); n != replicas {
		return fmt.Errorf("%s has %d replicas of %d", what, n, replicas)
	}
	for _, r := range c.Replicas {
		if r.Offline || !r.Current || r.Lag > 0 {
			return fmt.Errorf("%s on %s lags: offline %v, current %v, lag %d", what, r.Name, r.Offline, r.Current, r.Lag)
		}
	}
	return nil
}

// PolledAfterClose returns a line for each order that was polled later than grace after
// the ledger had closed it. With a grace of 0 the lines include polls that were in flight
// when another event closed the order.
func (s *Site) PolledAfterClose(ctx context.Context, orders []*oracle.Order, grace time.Duration) ([]string, error) {
	closed := map[string]time.Time{}
	prefix := "$KV." + s.Layout.Orders + "." + oracle.Producer + "."
	for m, err := range streams.Scan(ctx, s.JS, "KV_"+s.Layout.Orders, prefix+"*") {
		if err != nil {
			return nil, err
		}
		rec, err := entrustbus.DecodeOrder(m.Data)
		if err != nil {
			return nil, fmt.Errorf("reading the ledger record %s: %w", m.Subject, err)
		}
		if rec.Phase == entrustbus.PhaseClosed {
			closed[m.Subject[len(prefix):]] = m.Time
		}
	}
	var late []string
	for _, o := range orders {
		at, ok := closed[o.ID()]
		if !ok {
			continue
		}
		for _, id := range s.trackingIDs(o) {
			polls, err := s.Gateway.PollsOf(id)
			if err != nil || polls.Count == 0 {
				continue
			}
			// The simulator counts whole milliseconds.
			if by := polls.Last.Sub(at); by > grace+time.Millisecond {
				late = append(late, fmt.Sprintf("%s was polled %v after it was closed", o.ID(), by.Round(time.Millisecond)))
			}
		}
	}
	return late, nil
}

// trackingIDs returns the gateway's tracking ids of an order.
func (s *Site) trackingIDs(o *oracle.Order) []string {
	if q, ok := o.Request.(*entrustbus.Track); ok {
		return []string{q.TrackingID}
	}
	there, _ := s.Gateway.Enrollment(o.KeyHash) // not enrolled: no ids
	return there.TrackingIDs
}
