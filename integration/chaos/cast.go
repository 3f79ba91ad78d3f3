package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/integration/harness"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
)

// part is one order and what its producer does around it.
type part struct {
	at    time.Duration // into the run
	after time.Duration // from there to what follows
	id    string
	role  role
}

// role is what a producer does with one order. It plays it, and returns the
// requests that it made: what is not published in the end is nobody's.
type role struct {
	share int // of all orders, in percent
	play  func(ctx context.Context, s *stage, p part) ([]*harness.Order, error)
}

// cast is all parts of a run.
type cast struct{ parts []part }

// newCast draws what is ordered, all within the time of the trouble.
func newCast(o options, span time.Duration) *cast {
	rnd := rand.New(rand.NewPCG(o.seed, 2))
	c := &cast{}
	all := roles()
	for i := range o.orders {
		n := rnd.IntN(100)
		var r role
		for _, r = range all {
			if n -= r.share; n < 0 {
				break
			}
		}
		c.parts = append(c.parts, part{
			at: time.Duration(rnd.Int64N(int64(span * 4 / 5))), after: between(rnd, 0, 5*time.Second),
			id: fmt.Sprintf("order-%d", i), role: r,
		})
	}
	return c
}

// play plays every part in its time, and returns all requests that were made.
func (c *cast) play(ctx context.Context, s *stage) []*harness.Order {
	var mu sync.Mutex
	var orders []*harness.Order
	var all sync.WaitGroup
	for _, p := range c.parts {
		all.Go(func() {
			if !sleep(ctx, p.at) {
				return
			}
			made, err := p.role.play(ctx, s, p)
			if err != nil && !errors.Is(err, errNotIssued) {
				s.tell("%s: %v", p.id, err)
			}
			mu.Lock()
			defer mu.Unlock()
			orders = append(orders, made...)
		})
	}
	all.Wait()
	return orders
}

const (
	issued    = entrustbus.OutcomeIssued
	rejected  = entrustbus.OutcomeRejected
	failed    = entrustbus.OutcomeFailed
	expired   = entrustbus.OutcomeExpired
	cancelled = entrustbus.OutcomeCancelled
	revoked   = entrustbus.OutcomeRevoked
)

// roles are all roles; their shares make 100.
func roles() []role {
	return []role{
		{25, plain("issue", issued)},
		{16, plain("pending", issued)},
		{6, plain("slow", issued)},
		{6, plain("decline", rejected)},
		{6, plain("reject", rejected)},
		{4, plain("bad", failed)},
		{4, plain("wrong", failed)},
		{4, impatient},
		{3, invalid},
		{8, twice},
		{5, clashing},
		{6, cancelling},
		{4, revoking},
		{3, tracking},
	}
}

// plain is an order of a fate.
func plain(fate string, want entrustbus.Outcome) func(context.Context, *stage, part) ([]*harness.Order, error) {
	return func(ctx context.Context, s *stage, p part) ([]*harness.Order, error) {
		o := harness.NewIssue(p.id, fate, want)
		return []*harness.Order{o}, s.site.Submit(ctx, o)
	}
}

// impatient is an order that nobody approves in time.
func impatient(ctx context.Context, s *stage, p part) ([]*harness.Order, error) {
	o := harness.NewIssue(p.id, "hold", expired)
	o.Request.(*entrustbus.Issue).PollMaxWaitSeconds = 1 + int64(p.after/time.Second)
	return []*harness.Order{o}, s.site.Submit(ctx, o)
}

// invalid asks for more than the worker allows.
func invalid(ctx context.Context, s *stage, p part) ([]*harness.Order, error) {
	o := harness.NewIssue(p.id, "issue", failed)
	o.Request.(*entrustbus.Issue).PollMaxWaitSeconds = int64(2 * harness.MaxWaitLimit / time.Second)
	return []*harness.Order{o}, s.site.Submit(ctx, o)
}

// twice sends one order three times, in ways that the server does not recognise.
func twice(ctx context.Context, s *stage, p part) ([]*harness.Order, error) {
	o := harness.NewIssue(p.id, []string{"issue", "pending"}[int(p.after)%2], issued)
	if err := s.site.Submit(ctx, o); err != nil {
		return nil, err
	}
	for range 2 {
		sleep(ctx, p.after)
		if err := s.resend(ctx, o.Request); err != nil {
			return []*harness.Order{o}, err
		}
	}
	return []*harness.Order{o}, nil
}

// resend insists as Submit does. Where an acknowledgement was lost it sends once
// more than it meant to.
func (s *stage) resend(ctx context.Context, q entrustbus.Request) error {
	return harness.Until(ctx, "the request stream takes "+q.OrderID()+" again", func() (bool, error) {
		err := s.site.Resend(ctx, q)
		return err == nil, err
	})
}

// clashing sends another order under the id of one that has ended.
func clashing(ctx context.Context, s *stage, p part) ([]*harness.Order, error) {
	o := harness.NewIssue(p.id, "issue", issued)
	if err := s.site.Submit(ctx, o); err != nil {
		return nil, err
	}
	made := []*harness.Order{o}
	if _, err := s.result(ctx, o); err != nil {
		return made, err
	}
	o.Clashes = 1
	return made, harness.Until(ctx, "the request stream takes a clash", func() (bool, error) {
		err := s.site.Resend(ctx, harness.NewIssue(p.id, "issue").Request)
		if err != nil {
			o.MaybeClashes++ // only its acknowledgement may be lost
		}
		return err == nil, err
	})
}

// cancelling stops waiting for an order that nobody approves. A cancellation may
// overtake its order, and then knows no such order; it comes too late where the
// order is held as unconfirmed. An order that stays ends by itself while a run of
// any length settles.
func cancelling(ctx context.Context, s *stage, p part) ([]*harness.Order, error) {
	o := harness.NewIssue(p.id, "hold", cancelled, expired)
	o.Request.(*entrustbus.Issue).PollMaxWaitSeconds = int64(min(s.opts.span/3, settling/2) / time.Second)
	c := &harness.Order{
		Request: &entrustbus.Cancel{ID: p.id + "-cancel", Order: p.id},
		Want:    []entrustbus.Outcome{cancelled, failed},
	}
	if err := s.site.Submit(ctx, o); err != nil {
		return nil, err
	}
	sleep(ctx, p.after)
	return []*harness.Order{o, c}, s.site.Submit(ctx, c)
}

// revoking revokes what was issued.
func revoking(ctx context.Context, s *stage, p part) ([]*harness.Order, error) {
	o := harness.NewIssue(p.id, "issue", issued)
	if err := s.site.Submit(ctx, o); err != nil {
		return nil, err
	}
	made := []*harness.Order{o}
	r, err := s.result(ctx, o)
	if err != nil {
		return made, err
	}
	if r.Outcome != issued {
		return made, errNotIssued
	}
	q := &harness.Order{
		Request: &entrustbus.Revoke{ID: p.id + "-revoke", Serial: r.Serial, Reason: "keyCompromise"},
		Want:    []entrustbus.Outcome{revoked},
	}
	return append(made, q), s.site.Submit(ctx, q)
}

// tracking waits for what somebody else enrolled.
func tracking(ctx context.Context, s *stage, p part) ([]*harness.Order, error) {
	hc, err := s.gw.Client()
	if err != nil {
		return nil, err
	}
	defer hc.CloseIdleConnections()
	client, err := gateway.New(gateway.Config{URL: s.gw.URL(), CAID: s.gw.CAID(), ProfileID: s.gw.Profile()}, hc, nil)
	if err != nil {
		return nil, err
	}
	var answer gateway.Answer
	var der []byte
	err = harness.Until(ctx, "somebody enrolls "+p.id, func() (bool, error) {
		der = harness.NewIssue(p.id, "pending").Request.(*entrustbus.Issue).CSRDER
		csr, err := x509.ParseCertificateRequest(der)
		if err != nil {
			return false, err
		}
		answer, err = client.Enroll(ctx, gateway.Enrollment{CSR: csr})
		return err == nil, err
	})
	if err != nil {
		return nil, err
	}
	o := &harness.Order{
		Request: &entrustbus.Track{ID: p.id, TrackingID: answer.TrackingID, CSRDER: der},
		Want:    []entrustbus.Outcome{issued},
	}
	return []*harness.Order{o}, s.site.Submit(ctx, o)
}

// result waits for the result of an order.
func (s *stage) result(ctx context.Context, o *harness.Order) (*entrustbus.Result, error) {
	client, err := s.site.Client()
	if err != nil {
		return nil, err
	}
	var r *entrustbus.Result
	err = harness.Until(ctx, o.ID()+" has a result", func() (bool, error) {
		try, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		var err error
		r, err = client.Lookup(try, o.ID())
		return err == nil, err
	})
	return r, err
}
