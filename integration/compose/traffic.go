package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// producers are the names that orders are made under, one for each encoding.
var producers = []struct {
	name     string
	encoding entrustbus.Encoding
}{{"shop", entrustbus.EncodingMsgpack}, {"web", entrustbus.EncodingJSON}}

// traffic sends orders from the host and waits for their results, each order in its own
// goroutine.
type traffic struct {
	clients []*entrustbus.Client
	wg      sync.WaitGroup

	mu     sync.Mutex
	orders []*order
	errs   []error
}

func newTraffic(nc *nats.Conn) (*traffic, error) {
	t := &traffic{}
	for _, p := range producers {
		client, err := entrustbus.New(nc, entrustbus.ClientConfig{Producer: p.name, Encoding: p.encoding})
		if err != nil {
			return nil, err
		}
		t.clients = append(t.clients, client)
	}
	return t, nil
}

// burst starts so many orders at once.
func (t *traffic) burst(ctx context.Context, count int) error {
	for range count {
		o, err := t.add()
		if err != nil {
			return err
		}
		t.wg.Go(func() {
			if err := t.follow(ctx, o); err != nil {
				t.mu.Lock()
				t.errs = append(t.errs, err)
				t.mu.Unlock()
			}
		})
	}
	return nil
}

// add makes the next order.
func (t *traffic) add() (*order, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	o, err := newOrder(len(t.orders))
	if err != nil {
		return nil, fmt.Errorf("making order %d: %w", len(t.orders), err)
	}
	t.orders = append(t.orders, o)
	return o, nil
}

// flow sends an order every interval until the function it returns is called.
func (t *traffic) flow(ctx context.Context, every time.Duration) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	parent, done := context.WithoutCancel(ctx), make(chan error, 1)
	go func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				done <- nil
				return
			case <-tick.C:
				if err := t.burst(parent, 1); err != nil {
					done <- err
					return
				}
			}
		}
	}()
	return func() error {
		cancel()
		return <-done
	}
}

// settledWithin bounds the life of one order: a dead worker's is looked at again after
// its ack wait and lease, and looked up after enroll timeout and event delay.
const settledWithin = 2 * time.Minute

// follow is the life of an order at its producer.
func (t *traffic) follow(ctx context.Context, o *order) error {
	ctx, cancel := context.WithTimeout(ctx, settledWithin)
	defer cancel()
	client := t.clients[o.producer]
	var err error
	if o.result, err = ask(ctx, client, o.request); err != nil {
		return err
	}
	if !o.revoke || o.result.Outcome != entrustbus.OutcomeIssued {
		return nil
	}
	o.revoked, err = ask(ctx, client, o.revocation())
	return err
}

// ask submits a request, again and again under the same id while NATS is away, and waits
// for its result.
func ask(ctx context.Context, client *entrustbus.Client, r entrustbus.Request) (*entrustbus.Result, error) {
	for {
		once, cancel := context.WithTimeout(ctx, 2*time.Second)
		_, err := client.Submit(once, r)
		cancel()
		if err == nil {
			break
		}
		if wrong, ok := errors.AsType[*entrustbus.FieldError](err); ok {
			return nil, wrong
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("submitting %s: %w", r.OrderID(), errors.Join(err, context.Cause(ctx)))
		case <-time.After(200 * time.Millisecond):
		}
	}
	return client.Wait(ctx, r.OrderID())
}

// settle waits until every order has its result, and returns the orders and what went
// wrong.
func (t *traffic) settle() ([]*order, error) {
	t.wg.Wait()
	return t.orders, errors.Join(t.errs...)
}
