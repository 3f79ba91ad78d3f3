package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/testbed/oracle"
)

// producers are the producers of the orders, one for each encoding.
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
	made   int
	orders []*oracle.Order // revocations too
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

// burst starts count orders concurrently.
func (t *traffic) burst(ctx context.Context, count int) {
	// The first word of an order's name tells the simulator how to handle it.
	fates := []struct {
		word   string
		want   entrustbus.Outcome
		revoke bool
	}{
		{word: "issue", want: entrustbus.OutcomeIssued},
		{word: "pending", want: entrustbus.OutcomeIssued},
		{word: "issue", want: entrustbus.OutcomeIssued, revoke: true},
		{word: "reject", want: entrustbus.OutcomeRejected},
		{word: "issue", want: entrustbus.OutcomeIssued},
		{word: "pending", want: entrustbus.OutcomeIssued, revoke: true},
		{word: "decline", want: entrustbus.OutcomeRejected},
	}
	for range count {
		t.mu.Lock()
		n := t.made
		t.made++
		t.mu.Unlock()
		fate := fates[n%len(fates)]
		o := oracle.NewIssue(fmt.Sprintf("order-%d", n), fate.word, fate.want)
		o.Producer = producers[n%2].name
		t.wg.Go(func() {
			if err := t.follow(ctx, t.clients[n%2], o, fate.revoke); err != nil {
				t.mu.Lock()
				t.errs = append(t.errs, err)
				t.mu.Unlock()
			}
		})
	}
}

// flow sends an order at each interval until stop is called.
func (t *traffic) flow(ctx context.Context, every time.Duration) (stop func()) {
	whole := ctx
	ctx, cancel := context.WithCancel(ctx)
	var flowing sync.WaitGroup
	flowing.Go(func() {
		for testbed.Sleep(ctx, every) == nil {
			t.burst(whole, 1)
		}
	})
	return func() {
		cancel()
		flowing.Wait()
	}
}

// settledWithin bounds the life of one order. A dead worker's order is handled again
// after its ack wait and lease, and looked up after enroll timeout and event delay.
const settledWithin = 2 * time.Minute

// follow performs the producer's part of one order.
func (t *traffic) follow(ctx context.Context, client *entrustbus.Client, o *oracle.Order, revoke bool) error {
	ctx, cancel := context.WithTimeout(ctx, settledWithin)
	defer cancel()
	result, err := t.ask(ctx, client, o)
	if err != nil || !revoke || result.Outcome != entrustbus.OutcomeIssued {
		return err
	}
	_, err = t.ask(ctx, client, &oracle.Order{
		Request:  &entrustbus.Revoke{ID: "revoke-" + o.ID(), SerialDecimal: result.SerialDecimal, Reason: "superseded"},
		Producer: o.Producer, Want: []entrustbus.Outcome{entrustbus.OutcomeRevoked},
	})
	return err
}

// ask submits a request and waits for its result. While NATS is away it submits again
// under the same id.
func (t *traffic) ask(ctx context.Context, client *entrustbus.Client, o *oracle.Order) (*entrustbus.Result, error) {
	t.mu.Lock()
	t.orders = append(t.orders, o)
	t.mu.Unlock()
	var refused *entrustbus.FieldError
	err := testbed.UntilEvery(ctx, 200*time.Millisecond, "NATS takes "+o.ID(), func() (bool, error) {
		once, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		_, err := client.Submit(once, o.Request)
		return err == nil || errors.As(err, &refused), err
	})
	if refused != nil {
		return nil, refused
	}
	if err != nil {
		return nil, err
	}
	return client.Wait(ctx, o.ID())
}

// settle waits until every order has its result, and returns the orders and all errors.
func (t *traffic) settle() ([]*oracle.Order, error) {
	t.wg.Wait()
	return t.orders, errors.Join(t.errs...)
}
