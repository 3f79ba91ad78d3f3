package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/testbed/oracle"
)

// inFlight is how many requests the producer publishes at a time.
const inFlight = 16

var errEnded = errors.New("every request has its result")

// producer publishes a batch and follows its results.
type producer struct {
	bus    *bus
	client *entrustbus.Client
	batch  *batch
	show   *progress

	orders map[string]int // index in the batch, by id; never written after newProducer

	mu      sync.Mutex
	ended   map[string]entrustbus.Outcome // the first result of each id
	skipped int                           // revocations without a certificate to revoke
	last    time.Time                     // when something last happened; zero: nothing yet
	sent    bool                          // every order is published
}

func newProducer(b *bus, batch *batch, show *progress) (*producer, error) {
	client, err := entrustbus.New(b.nc, entrustbus.ClientConfig{Producer: producerName})
	if err != nil {
		return nil, err
	}
	p := &producer{
		bus: b, client: client, batch: batch, show: show,
		orders: make(map[string]int, len(batch.Orders)),
		ended:  make(map[string]entrustbus.Outcome),
	}
	for i := range batch.Orders {
		p.orders[batch.Orders[i].ID] = i
	}
	return p, nil
}

// run publishes what has no result yet and returns when everything has one, or
// when none has come for the time of patience. With patient, that clock starts
// with the first result.
func (p *producer) run(ctx context.Context, patience time.Duration, patient bool) error {
	if err := p.catchUp(ctx); err != nil {
		return err
	}
	if !patient {
		p.last = time.Now()
	}
	defer p.show.end()
	g, work := errgroup.WithContext(ctx)
	g.Go(func() error { return p.publish(work) })
	g.Go(func() error { return p.follow(work) })
	g.Go(func() error { return p.watch(work, patience) })
	err := g.Wait()
	switch {
	case errors.Is(err, errEnded):
		return nil
	case ctx.Err() != nil:
		return errInterrupted
	}
	return err
}

// filter matches the results of the batch.
func (p *producer) filter() string { return p.bus.layout.Subjects().Result(producerName, "*") }

// catchUp reads the results that an earlier run left.
func (p *producer) catchUp(ctx context.Context) error {
	for m, err := range streams.Scan(ctx, p.bus.js, p.bus.layout.Results, p.filter()) {
		if err != nil {
			return err
		}
		r, err := oracle.Decode(m.Header, m.Data)
		if err != nil {
			return err
		}
		p.ended[r.ID] = r.Outcome
	}
	return nil
}

// publish submits every order that has no result yet. One that was published
// before, by a run that was killed, is a duplicate and changes nothing.
func (p *producer) publish(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(inFlight)
	for i := range p.batch.Orders {
		o := &p.batch.Orders[i]
		if p.hasEnded(o.ID) {
			continue
		}
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error { return p.submit(ctx, o.issue()) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent = true
	return nil
}

func (p *producer) submit(ctx context.Context, r entrustbus.Request) error {
	_, err := p.client.Submit(ctx, r)
	return err
}

func (p *producer) hasEnded(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.ended[id]
	return ok
}

// outcomes are the outcomes that came back, by request id.
func (p *producer) outcomes() map[string]entrustbus.Outcome {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.ended)
}

// follow reads all results from the beginning, and asks for each revocation as
// soon as there is a certificate to revoke.
func (p *producer) follow(ctx context.Context) error {
	cons, err := p.bus.js.OrderedConsumer(ctx, p.bus.layout.Results, jetstream.OrderedConsumerConfig{FilterSubjects: []string{p.filter()}})
	if err != nil {
		return fmt.Errorf("following results: %w", err)
	}
	messages, err := cons.Messages()
	if err != nil {
		return fmt.Errorf("following results: %w", err)
	}
	defer context.AfterFunc(ctx, messages.Stop)()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(inFlight)
	for ctx.Err() == nil {
		m, err := messages.Next()
		if errors.Is(err, jetstream.ErrMsgIteratorClosed) {
			break
		}
		if err != nil {
			return fmt.Errorf("following results: %w", err)
		}
		r, err := oracle.Decode(m.Headers(), m.Data())
		if err != nil {
			return err
		}
		if q := p.note(r); q != nil {
			g.Go(func() error { return p.submit(ctx, q) })
		}
	}
	return g.Wait()
}

// note takes a result in and returns the revocation that it gives rise to, if it
// does.
func (p *producer) note(r *entrustbus.Result) *entrustbus.Revoke {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = time.Now()
	p.ended[r.ID] = r.Outcome
	turn, ok := p.orders[r.ID]
	if !ok || p.batch.Orders[turn].Revoke == "" {
		return nil
	}
	o := &p.batch.Orders[turn]
	if r.Outcome != entrustbus.OutcomeIssued {
		p.skipped++
		return nil
	}
	if _, ended := p.ended[o.revocationID()]; ended {
		return nil
	}
	return o.revocation(turn, r)
}

// watch shows how far the batch is, and returns errEnded when it is over.
func (p *producer) watch(ctx context.Context, patience time.Duration) error {
	revocations := p.batch.revocations()
	for {
		p.mu.Lock()
		all := len(p.batch.Orders) + revocations - p.skipped
		done, counts := len(p.ended), map[entrustbus.Outcome]int{}
		for _, outcome := range p.ended {
			counts[outcome]++
		}
		over := p.sent && (done >= all || !p.last.IsZero() && time.Since(p.last) > patience)
		p.mu.Unlock()
		parked, err := p.bus.parked(ctx)
		if err == nil {
			p.show.set(done, len(p.batch.Orders), all-len(p.batch.Orders), counts, parked)
		}
		if over {
			return errEnded
		}
		if err := testbed.Sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}
