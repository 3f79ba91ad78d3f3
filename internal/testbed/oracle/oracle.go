// Package oracle checks the outcome of a run: one result for each request, no enrollment
// too many, nothing lost, and a held order only if a fault explains it.
//
// The oracle reads only the gateway and the streams. It shares no logic with the worker,
// so it cannot repeat the worker's mistakes.
package oracle

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// Gateway is the oracle's access to the simulator: a *gatewaytest.Server of this process,
// or a simulator behind its control listener.
type Gateway interface {
	Enrollment(keyHash string) (gatewaytest.Enrollment, bool)
	Revocations() []gatewaytest.Revocation
	PollsOf(trackingID string) (gatewaytest.PollRecord, error)
}

// Oracle compares orders with the contents of the bus and the gateway. JS, Layout and
// Gateway are required. Its methods are safe for concurrent use while its fields do not
// change.
type Oracle struct {
	JS      jetstream.JetStream
	Layout  streams.Layout
	Gateway Gateway
	// Faults records the injected faults. With it, an order may be held only if a fault
	// explains it. Nil: the oracle only counts held orders.
	Faults *Faults
	// Wakes is the log of wake-ups. Nil: wake-ups are not logged.
	Wakes *WakeLog
	// FirstPoll is the shortest time between an enrollment and its first poll. Zero: the
	// oracle does not look for early polls.
	FirstPoll time.Duration
	// Others says that producers without an order use the bus too: the oracle ignores
	// their results. Otherwise each is a finding.
	Others bool
	// Chain says that every certificate comes with the chain to its issuer. Otherwise a
	// result may have no chain.
	Chain bool
}

// evidence is the final content of the bus and the gateway. The keys of the maps are
// <producer>.<id>.
type evidence struct {
	results     map[string][]*entrustbus.Result // in the order of publication
	stored      map[string]time.Time            // store time of the first result
	letters     map[string][]*deadletter.Letter
	ledger      map[string]*entrustbus.Order
	wakes       map[string][]Wake
	revocations map[string]gatewaytest.Revocation // by serial
	closedBy    time.Time                         // deadline for open records to close; zero: no wait yet
}

// closing bounds how long a record may stay open after its result. Workers do not wait
// for the write that closes it; if that write is lost, the watchdog closes the record.
const closing = 3 * time.Minute

// Rest waits until no request, schedule or due message is left on the bus.
func (c *Oracle) Rest(ctx context.Context) error {
	return testbed.Until(ctx, "nothing is left on the bus", func() (bool, error) {
		for _, name := range []string{c.Layout.Requests, c.Layout.Parked} {
			left, err := Messages(ctx, c.JS, name)
			if err != nil {
				return false, err
			}
			if left > 0 {
				return false, fmt.Errorf("%s holds %d messages", name, left)
			}
		}
		return true, nil
	})
}

// Messages returns the number of messages in a stream. It waits 2 s for an answer.
func Messages(ctx context.Context, js jetstream.JetStream, stream string) (int, error) {
	try, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	st, err := js.Stream(try, stream)
	if err != nil {
		return 0, fmt.Errorf("reading the stream %s: %w", stream, err)
	}
	return int(st.CachedInfo().State.Msgs), nil
}

// CheckAtRest waits until the bus is at rest and checks the orders. If the bus does not
// come to rest before ctx ends, that is a finding, and CheckAtRest checks the orders all
// the same.
func (c *Oracle) CheckAtRest(ctx context.Context, orders []*Order) (*Report, error) {
	restless := c.Rest(ctx)
	if restless != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
	}
	r, err := c.Check(ctx, orders)
	if err == nil && restless != nil {
		r.find("the bus did not come to rest: %v", restless)
	}
	return r, err
}

// Check compares orders with the contents of the bus and the gateway. The error is a
// failed read. Defects of the run are in the report.
func (c *Oracle) Check(ctx context.Context, orders []*Order) (*Report, error) {
	r := &Report{Orders: len(orders), Outcomes: map[entrustbus.Outcome]int{}, Results: map[string]*entrustbus.Result{}}
	ev, err := c.evidence(ctx, r, orders)
	if err != nil {
		return nil, err
	}
	var unconfirmed, submitted []submission
	known := map[string]bool{}
	for _, o := range orders {
		known[o.Key()] = true
		last, held := c.check(ctx, r, ev, o)
		if !last.from.IsZero() {
			submitted = append(submitted, last)
		}
		if held {
			unconfirmed = append(unconfirmed, last)
		}
	}
	if c.Faults != nil {
		r.Explained = c.Faults.explain(r, unconfirmed, submitted)
	}
	// No wake-up may come before its time.
	for key, wakes := range ev.wakes {
		for _, w := range wakes {
			if w.Stored.Before(w.Due) {
				r.EarlyPolls++
				r.find("%s was woken %v early", key, w.Due.Sub(w.Stored))
			}
		}
	}
	for key := range ev.results {
		if !known[key] {
			r.find("there is a result of %s, which is not an order of this run", key)
		}
	}
	if !r.Good() {
		r.Control = c.control(ctx)
	}
	return r, nil
}

// control describes the breakers and pauses in the control bucket: an order that does not
// end may wait for one of them.
func (c *Oracle) control(ctx context.Context) (lines []string) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	prefix := "$KV." + c.Layout.Control + "."
	for _, keys := range []string{"breaker.>", "pause.>"} {
		for m, err := range streams.Scan(ctx, c.JS, "KV_"+c.Layout.Control, prefix+keys) {
			if err != nil {
				return append(lines, fmt.Sprintf("reading %s: %v", keys, err))
			}
			lines = append(lines, fmt.Sprintf("%s %s, stored %s ago", m.Subject[len(prefix):], m.Data, time.Since(m.Time).Round(time.Second)))
		}
	}
	if lines == nil {
		lines = []string{"no breaker and no pause"}
	}
	return lines
}

// evidence reads results, dead letters, ledger and wake-ups.
func (c *Oracle) evidence(ctx context.Context, r *Report, orders []*Order) (*evidence, error) {
	ev := &evidence{
		results: map[string][]*entrustbus.Result{}, stored: map[string]time.Time{},
		letters: map[string][]*deadletter.Letter{}, ledger: map[string]*entrustbus.Order{},
		revocations: map[string]gatewaytest.Revocation{},
	}
	if c.Wakes != nil {
		ev.wakes = c.Wakes.Wakes()
	}
	for _, rev := range c.Gateway.Revocations() {
		ev.revocations[rev.Serial] = rev
	}
	producers := map[string]bool{}
	for _, o := range orders {
		producers[o.producer()] = true
	}
	for producer := range producers {
		if c.Others {
			if err := c.results(ctx, r, ev, c.Layout.Subjects().Result(producer, "*")); err != nil {
				return nil, err
			}
		}
		for m, err := range streams.Scan(ctx, c.JS, "KV_"+c.Layout.Orders, c.ledgerSubject(producer+".*")) {
			if err != nil {
				return nil, err
			}
			if rec, err := entrustbus.DecodeOrder(m.Data); err == nil {
				ev.ledger[m.Subject[len(c.ledgerSubject("")):]] = rec
			}
		}
	}
	if !c.Others {
		if err := c.results(ctx, r, ev, c.Layout.Subjects().ResultFilter()); err != nil {
			return nil, err
		}
	}
	subjects := c.Layout.Subjects()
	for m, err := range streams.Scan(ctx, c.JS, c.Layout.Dead, subjects.DeadFilter()) {
		if err != nil {
			return nil, err
		}
		l, err := deadletter.Parse(subjects, m.Sequence, m.Subject, m.Header, m.Data)
		if err != nil {
			r.find("dead letter %d cannot be read: %v", m.Sequence, err)
			continue
		}
		key := l.Key.Producer + "." + l.Key.ID
		ev.letters[key] = append(ev.letters[key], l)
	}
	return ev, nil
}

func (c *Oracle) ledgerSubject(key string) string { return "$KV." + c.Layout.Orders + "." + key }

// results reads the results on the subjects that match filter.
func (c *Oracle) results(ctx context.Context, r *Report, ev *evidence, filter string) error {
	subjects := c.Layout.Subjects()
	for m, err := range streams.Scan(ctx, c.JS, c.Layout.Results, filter) {
		if err != nil {
			return err
		}
		producer, id, err := subjects.ParseOrder(m.Subject)
		if err != nil {
			r.find("there is a result on the subject %s", m.Subject)
			continue
		}
		res, err := Decode(m.Header, m.Data)
		if err != nil {
			r.find("%s: %v", id, err)
			continue
		}
		key := producer + "." + id
		if len(ev.results[key]) == 0 {
			ev.stored[key] = m.Time
		}
		ev.results[key] = append(ev.results[key], res)
		if best := r.Results[key]; best == nil || res.Replay > best.Replay {
			r.Results[key] = res
		}
	}
	return nil
}

// Decode decodes a result with the header of its message.
func Decode(header nats.Header, data []byte) (*entrustbus.Result, error) {
	enc, err := entrustbus.EncodingOf(header.Get(entrustbus.HeaderContentType), data)
	if err != nil {
		return nil, fmt.Errorf("reading a result: %w", err)
	}
	res, err := entrustbus.DecodeResult(enc, data)
	if err != nil {
		return nil, fmt.Errorf("reading a result: %w", err)
	}
	return res, nil
}
