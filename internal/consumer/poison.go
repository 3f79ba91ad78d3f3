package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/order"
)

const (
	// ordinary is how many deliveries of a message are ordinary: restarts and lost acks happen.
	// After that, each try is counted before it is made.
	ordinary = 3
	// fatal is how many counted tries may end with a crash before the message counts as its
	// cause.
	fatal = 3
	// everything is more than the number of messages that can be in flight.
	everything = 1 << 30
	// shortest is the shortest time that a poison message waits for all other messages to end.
	shortest = 2 * time.Second
)

var errNotAlone = errors.New("a poison message waits until it can run alone")

// poison finds messages that crash workers. Before each try of a message that was delivered
// often, it counts the try in the control bucket. A try that ends without a crash removes its
// count. So neither a rolling restart nor a long outage makes a poison message.
//
// A crash counts for every message that was in flight. So a counted message runs with no other
// message in flight: the next crash identifies it. It waits a short time for its turn, then
// goes back to the stream for four times as long. So other messages have four fifths of the
// time. Its wait grows with the age of its count, up to the longest call. So it gets its turn,
// however busy the worker is.
//
// Revocations have reserved capacity and run meanwhile. A revocation that crashes the worker in
// its first deliveries is therefore counted for the message that runs alone.
type poison struct {
	control *control.Bucket
	longest time.Duration       // of a call and its effects
	running *semaphore.Weighted // of everything: a message takes one part, a counted message takes all
}

func newPoison(bucket *control.Bucket, longest time.Duration) *poison {
	return &poison{control: bucket, longest: longest, running: semaphore.NewWeighted(everything)}
}

// try is one handling of a message.
type try struct {
	parts   int64 // of everything, taken by this try
	counted bool
	fatal   bool // enough tries ended with a crash
}

func identityOf(d *delivery) control.Message {
	return control.Message{Stream: d.stream, Sequence: d.sequence, Stored: d.published}
}

// begin counts one more try when the message was delivered too often. A message that waits for
// its turn goes back when stop ends. The caller must call end unless begin returned an error.
func (p *poison) begin(ctx, stop context.Context, l *lane, d *delivery) (try, error) {
	if d.deliveries <= ordinary {
		t := try{parts: 1}
		if l.reserved {
			t.parts = 0
		}
		return t, p.acquire(stop, t, 0)
	}
	tries, age, err := p.control.Tries(ctx, identityOf(d))
	if err != nil {
		return try{}, err
	}
	t := try{parts: 1, fatal: tries >= fatal}
	switch {
	case tries > 0 && !t.fatal:
		t.parts = everything
	case l.reserved:
		t.parts = 0
	}
	if err := p.acquire(stop, t, age); err != nil || t.fatal {
		t.counted = t.fatal
		return t, err
	}
	if _, err := p.control.CountTry(ctx, identityOf(d)); err != nil {
		p.end(t)
		return try{}, fmt.Errorf("counting a try: %w", err)
	}
	t.counted = true
	return t, nil
}

// acquire waits until the message may run: beside other messages, or alone when it has been
// counted. age is the age of its count.
func (p *poison) acquire(stop context.Context, t try, age time.Duration) error {
	if t.parts == 0 {
		return nil // in the semaphore it would queue behind a message that waits to run alone
	}
	ctx, wait := stop, time.Duration(0)
	if t.parts == everything {
		wait = min(max(age/8, shortest), p.longest)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(stop, wait)
		defer cancel()
	}
	err := p.running.Acquire(ctx, t.parts)
	switch {
	case err == nil:
		return nil
	case stop.Err() != nil:
		return context.Cause(stop)
	}
	return later(4*wait, errNotAlone)
}

// end frees the parts of a try for waiting messages.
func (p *poison) end(t try) { p.running.Release(t.parts) }

// clear removes the count of a message. A count that remains adds one crash if the message
// comes again; otherwise it does no harm.
func (p *poison) clear(ctx context.Context, d *delivery) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ackTimeout)
	defer cancel()
	_ = p.control.ClearTries(ctx, identityOf(d))
}

// poisoned ends a message that crashed workers. It does not decode the body, which may be the
// cause.
func (w *Worker) poisoned(ctx context.Context, d *delivery) error {
	raw := &order.Message{Subject: d.msg.Subject(), Header: d.msg.Headers(), Body: d.msg.Data()}
	h := &handling{w: w, d: d, maybeHandled: true, lost: w.rollbacks.count()}
	if wake, err := w.wakeups.Read(d.msg.Subject(), d.msg.Headers(), d.msg.Data()); err == nil {
		h.wake, h.key = wake, wake.Key
		raw = wake.Request
	}
	q := order.Unread(w.subjects, raw)
	if h.wake != nil {
		q.Key, q.Kind, q.Generation = h.wake.Key, h.wake.Kind, h.wake.Generation
	} else {
		q.Ref = order.Ref{Sequence: d.sequence, Time: d.published}
		key, err := w.begunBy(ctx, q.Ref)
		if err != nil {
			return err
		}
		if key.ID != "" {
			q.Key = key
		}
	}
	q.Deliveries = int(d.deliveries)
	if isByHand(q.Kind) {
		q.Key.ID = "" // the request would end another order, and gets no result
	}
	h.key, h.read = q.Key, &q
	if h.key.ID != "" {
		if err := h.readRecord(ctx); err != nil {
			return h.rest(err)
		}
	}
	if h.wake != nil && h.cur.Phase != "" {
		q.Digest = h.cur.Digest // the wake-up belongs to the order
	}
	return h.run(ctx, func(order.Remains) order.Event { return order.Poisoned{Request: q} })
}

// begunBy returns the order whose record names this message as its origin, or a zero key. It
// reads the whole ledger, which is acceptable because crashes are rare. Otherwise only the
// body, which is not read, may name the order.
func (w *Worker) begunBy(ctx context.Context, message order.Ref) (order.Key, error) {
	for e, err := range w.ledger.All(ctx) {
		switch {
		case errors.Is(err, order.ErrNotARecord), errors.Is(err, order.ErrNewerFormat):
			continue
		case err != nil:
			return order.Key{}, fmt.Errorf("looking for the order of message %d: %w", message.Sequence, err)
		}
		if e.Origin.Sequence == message.Sequence && e.Origin.Time.Equal(message.Time) {
			return e.Key, nil
		}
	}
	return order.Key{}, nil
}
