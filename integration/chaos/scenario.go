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
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/testbed/oracle"
	"github.com/entrust-worker/entrust-worker/internal/testbed/rig"
)

// step is one order and its producer's actions.
type step struct {
	at    time.Duration // time from the start of the run
	after time.Duration // time from there to the next action
	id    string
	kind  kind
}

// kind is a producer's behaviour with one order. play performs it and returns the
// requests that it made. The oracle ignores requests that were never published.
type kind struct {
	share int // of all orders, in percent
	play  func(ctx context.Context, r *run, p step) ([]*oracle.Order, error)
}

// draw draws the orders; all come while there are faults.
func draw(o options) []step {
	rnd := rand.New(rand.NewPCG(o.seed, 2))
	span := o.span * 2 / 3
	var steps []step
	for i := range o.orders {
		n := rnd.IntN(100)
		var k kind
		for _, k = range kinds() {
			if n -= k.share; n < 0 {
				break
			}
		}
		steps = append(steps, step{
			at: time.Duration(rnd.Int64N(int64(span * 4 / 5))), after: between(rnd, 0, 5*time.Second),
			id: fmt.Sprintf("order-%d", i), kind: k,
		})
	}
	return steps
}

// play plays every step at its time, and returns all requests.
func (r *run) play(ctx context.Context, steps []step) []*oracle.Order {
	var mu sync.Mutex
	var orders []*oracle.Order
	var all sync.WaitGroup
	for _, p := range steps {
		all.Go(func() {
			if testbed.Sleep(ctx, p.at) != nil {
				return
			}
			made, err := p.kind.play(ctx, r, p)
			if err != nil && !errors.Is(err, errNotIssued) {
				r.say("%s: %v", p.id, err)
			}
			mu.Lock()
			defer mu.Unlock()
			orders = append(orders, made...)
		})
	}
	all.Wait()
	return orders
}

var errNotIssued = errors.New("the order was not issued")

const (
	issued    = entrustbus.OutcomeIssued
	rejected  = entrustbus.OutcomeRejected
	failed    = entrustbus.OutcomeFailed
	expired   = entrustbus.OutcomeExpired
	cancelled = entrustbus.OutcomeCancelled
	revoked   = entrustbus.OutcomeRevoked
)

// kinds returns all kinds. Their shares add up to 100.
func kinds() []kind {
	return []kind{
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

// plain publishes one order with a fate.
func plain(fate string, want entrustbus.Outcome) func(context.Context, *run, step) ([]*oracle.Order, error) {
	return func(ctx context.Context, r *run, p step) ([]*oracle.Order, error) {
		o := oracle.NewIssue(p.id, fate, want)
		return []*oracle.Order{o}, r.site.Submit(ctx, o)
	}
}

// impatient publishes an order that is not approved in time.
func impatient(ctx context.Context, r *run, p step) ([]*oracle.Order, error) {
	o := oracle.NewIssue(p.id, "hold", expired)
	o.Request.(*entrustbus.Issue).PollMaxWaitSeconds = 1 + int64(p.after/time.Second)
	return []*oracle.Order{o}, r.site.Submit(ctx, o)
}

// invalid publishes an order with a longer deadline than the worker allows.
func invalid(ctx context.Context, r *run, p step) ([]*oracle.Order, error) {
	o := oracle.NewIssue(p.id, "issue", failed)
	o.Request.(*entrustbus.Issue).PollMaxWaitSeconds = int64(2 * rig.MaxWaitLimit / time.Second)
	return []*oracle.Order{o}, r.site.Submit(ctx, o)
}

// twice publishes one order three times, in ways that the server does not recognise.
func twice(ctx context.Context, r *run, p step) ([]*oracle.Order, error) {
	o := oracle.NewIssue(p.id, []string{"issue", "pending"}[int(p.after)%2], issued)
	if err := r.site.Submit(ctx, o); err != nil {
		return nil, err
	}
	for range 2 {
		_ = testbed.Sleep(ctx, p.after)
		if err := r.resend(ctx, o.Request); err != nil {
			return []*oracle.Order{o}, err
		}
	}
	return []*oracle.Order{o}, nil
}

// resend retries like Submit. If an acknowledgement was lost, it publishes once more than
// intended.
func (r *run) resend(ctx context.Context, q entrustbus.Request) error {
	return testbed.Until(ctx, "the request stream takes "+q.OrderID()+" again", func() (bool, error) {
		err := r.site.Resend(ctx, q)
		return err == nil, err
	})
}

// clashing publishes another order under the id of an ended one.
func clashing(ctx context.Context, r *run, p step) ([]*oracle.Order, error) {
	o := oracle.NewIssue(p.id, "issue", issued)
	if err := r.site.Submit(ctx, o); err != nil {
		return nil, err
	}
	made := []*oracle.Order{o}
	if _, err := r.site.Result(ctx, o); err != nil {
		return made, err
	}
	o.Clashes = 1
	return made, testbed.Until(ctx, "the request stream takes a clash", func() (bool, error) {
		err := r.site.Resend(ctx, oracle.NewIssue(p.id, "issue").Request)
		if err != nil {
			o.MaybeClashes++ // perhaps only the acknowledgement was lost
		}
		return err == nil, err
	})
}

// cancelling cancels an order that is not approved. A cancellation may overtake its
// order, and then finds no such order. It comes too late if the order is held as
// unconfirmed. An order that stays ends by itself while the run settles.
func cancelling(ctx context.Context, r *run, p step) ([]*oracle.Order, error) {
	o := oracle.NewIssue(p.id, "hold", cancelled, expired)
	o.Request.(*entrustbus.Issue).PollMaxWaitSeconds = int64(min(r.span/3, settling/2) / time.Second)
	c := &oracle.Order{
		Request: &entrustbus.Cancel{ID: p.id + "-cancel", Order: p.id},
		Want:    []entrustbus.Outcome{cancelled, failed},
	}
	if err := r.site.Submit(ctx, o); err != nil {
		return nil, err
	}
	_ = testbed.Sleep(ctx, p.after)
	return []*oracle.Order{o, c}, r.site.Submit(ctx, c)
}

// revoking revokes an issued certificate.
func revoking(ctx context.Context, r *run, p step) ([]*oracle.Order, error) {
	o := oracle.NewIssue(p.id, "issue", issued)
	if err := r.site.Submit(ctx, o); err != nil {
		return nil, err
	}
	made := []*oracle.Order{o}
	res, err := r.site.Result(ctx, o)
	if err != nil {
		return made, err
	}
	if res.Outcome != issued {
		return made, errNotIssued
	}
	q := &oracle.Order{
		Request: &entrustbus.Revoke{ID: p.id + "-revoke", Serial: res.Serial, Reason: "keyCompromise"},
		Want:    []entrustbus.Outcome{revoked},
	}
	return append(made, q), r.site.Submit(ctx, q)
}

// tracking waits for an order that was enrolled outside of the worker.
func tracking(ctx context.Context, r *run, p step) ([]*oracle.Order, error) {
	hc, err := r.gateway.Client()
	if err != nil {
		return nil, err
	}
	defer hc.CloseIdleConnections()
	client, err := gateway.New(gateway.Config{URL: r.gateway.URL(), CAID: r.gateway.CAID(), ProfileID: r.gateway.Profile()}, hc, nil)
	if err != nil {
		return nil, err
	}
	var answer gateway.Answer
	var der []byte
	err = testbed.Until(ctx, p.id+" is enrolled elsewhere", func() (bool, error) {
		der = oracle.NewIssue(p.id, "pending").Request.(*entrustbus.Issue).CSRDER
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
	o := &oracle.Order{
		Request: &entrustbus.Track{ID: p.id, TrackingID: answer.TrackingID, CSRDER: der},
		Want:    []entrustbus.Outcome{issued},
	}
	return []*oracle.Order{o}, r.site.Submit(ctx, o)
}
