package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/testbed/oracle"
)

const (
	// liveEvery is the pause between two looks at the bus after the batch.
	liveEvery = 500 * time.Millisecond
	// liveLines is how many results one look prints, so that a flood stays readable.
	liveLines = 10
)

// live shows what happens after the batch: each result, of any producer, and how many orders
// wait. The zero value, with out set, is ready. It is safe for concurrent use.
type live struct {
	out io.Writer

	mu      sync.Mutex
	results []*entrustbus.Result // since the last look
	seen    int
	counts  map[entrustbus.Outcome]int
	waiting int // as printed last
}

// add takes a result in.
func (l *live) add(r *entrustbus.Result) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.results = append(l.results, r)
}

// print writes what happened since the last call; waiting is how many orders wait now.
func (l *live) print(waiting int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.counts == nil {
		l.counts = map[entrustbus.Outcome]int{}
	}
	for i, r := range l.results {
		l.counts[r.Outcome]++
		if i < liveLines {
			fmt.Fprintln(l.out, resultLine(r))
		}
	}
	if more := len(l.results) - liveLines; more > 0 {
		fmt.Fprintf(l.out, "… and %d more results\n", more)
	}
	if len(l.results) == 0 && waiting == l.waiting {
		return
	}
	l.seen += len(l.results)
	l.results, l.waiting = nil, waiting
	fmt.Fprintf(l.out, "since the batch: %d results%s; %d waiting\n", l.seen, breakdown(l.counts), waiting)
}

// resultLine is one result for people.
func resultLine(r *entrustbus.Result) string {
	line := fmt.Sprintf("%s  %s.%s  %s", r.FinishedAt.Local().Format(time.TimeOnly), r.Producer, r.ID, r.Outcome)
	switch {
	case r.Error != nil:
		line += "  " + r.Error.Message
	case r.Serial != "":
		line += "  serial " + r.Serial
	}
	return line
}

// breakdown lists outcomes that occurred, in one order: " (2 issued, 1 rejected)".
func breakdown(counts map[entrustbus.Outcome]int) string {
	text := ""
	for _, o := range []entrustbus.Outcome{
		entrustbus.OutcomeIssued, entrustbus.OutcomeRevoked, entrustbus.OutcomeRejected, entrustbus.OutcomeFailed,
		entrustbus.OutcomeExpired, entrustbus.OutcomeUnconfirmed, entrustbus.OutcomeCancelled,
	} {
		if n := counts[o]; n > 0 {
			text += fmt.Sprintf(", %d %s", n, o)
		}
	}
	if text == "" {
		return ""
	}
	return " (" + text[2:] + ")"
}

// watch follows the results of every producer from now on, and prints until ctx is done. Once
// no result can be missed it calls ready, which says what to try.
func (l *live) watch(ctx context.Context, b *bus, ready func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cons, err := b.js.OrderedConsumer(ctx, b.layout.Results, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverNewPolicy})
	if err != nil {
		return fmt.Errorf("following results: %w", err)
	}
	consuming, err := cons.Consume(func(m jetstream.Msg) {
		// What cannot be read was published by hand: the worker's own results can.
		if r, err := oracle.Decode(m.Headers(), m.Data()); err == nil {
			l.add(r)
		}
	})
	if err != nil {
		return fmt.Errorf("following results: %w", err)
	}
	defer consuming.Stop()
	ready()
	for {
		if waiting, err := b.parked(ctx); err == nil {
			l.print(waiting)
		} else if errors.Is(err, context.Canceled) {
			return nil
		}
		if testbed.Sleep(ctx, liveEvery) != nil {
			return nil
		}
	}
}
