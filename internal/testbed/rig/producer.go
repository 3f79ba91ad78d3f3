package rig

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/testbed/oracle"
)

// submitTry bounds one publish: the acknowledgement of a dead server never comes.
const submitTry = 3 * time.Second

// Client returns a producer's client on the undisturbed connection.
func (s *Site) Client() (*entrustbus.Client, error) {
	return entrustbus.New(s.NATS, entrustbus.ClientConfig{
		Producer: oracle.Producer, Subjects: s.Layout.Subjects(),
		ResultStream: s.Layout.Results, LedgerBucket: s.Layout.Orders,
	})
}

// Submit publishes requests through the producer client, each until the server has stored
// it. A repetition is the same request to the server and the worker.
func (s *Site) Submit(ctx context.Context, orders ...*oracle.Order) error {
	client, err := s.Client()
	if err != nil {
		return err
	}
	for _, o := range orders {
		err := testbed.Until(ctx, "the request stream takes "+o.ID(), func() (bool, error) {
			try, cancel := context.WithTimeout(ctx, submitTry)
			defer cancel()
			_, err := client.Submit(try, o.Request)
			return err == nil, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Resend publishes a request once more without a message id, so that the server does not
// recognise it.
func (s *Site) Resend(ctx context.Context, q entrustbus.Request) error {
	body, err := entrustbus.EncodeRequest(entrustbus.EncodingMsgpack, q)
	if err != nil {
		return err
	}
	subject := s.Layout.Subjects().Request(oracle.Producer, q.Kind())
	ctx, cancel := context.WithTimeout(ctx, submitTry)
	defer cancel()
	_, err = s.JS.Publish(ctx, subject, body)
	return err
}

// Result waits for the result of an order.
func (s *Site) Result(ctx context.Context, o *oracle.Order) (r *entrustbus.Result, err error) {
	client, err := s.Client()
	if err != nil {
		return nil, err
	}
	err = testbed.Until(ctx, o.ID()+" has a result", func() (bool, error) {
		try, cancel := context.WithTimeout(ctx, submitTry)
		defer cancel()
		var err error
		r, err = client.Lookup(try, o.ID())
		return err == nil, err
	})
	return r, err
}

// Results waits until every order has a result or ctx ends. It returns the number of
// orders without a result.
func (s *Site) Results(ctx context.Context, orders ...*oracle.Order) (missing int, err error) {
	subjects := s.Layout.Subjects()
	consumer, err := s.JS.OrderedConsumer(ctx, s.Layout.Results, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy})
	if err != nil {
		return len(orders), fmt.Errorf("reading the results: %w", err)
	}
	waiting := map[string]bool{}
	for _, o := range orders {
		waiting[o.ID()] = true
	}
	messages, err := consumer.Messages()
	if err != nil {
		return len(orders), fmt.Errorf("reading the results: %w", err)
	}
	defer messages.Stop()
	for len(waiting) > 0 {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return len(waiting), fmt.Errorf("waiting for the results: %w", err)
		}
		if _, id, err := subjects.ParseOrder(msg.Subject()); err == nil {
			delete(waiting, id)
		}
	}
	return 0, nil
}
