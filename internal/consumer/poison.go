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
	// ordinary is how many deliveries of a message are taken for ordinary: restarts and
	// lost acks happen. From then on each try is counted before it is made.
	ordinary = 3
	// fatal is how many counted tries may end without a word before the message is taken
	// for the cause.
	fatal = 3
	// everything is more than can be in flight at once.
	everything = 1 << 30
	// shortest is how long a poison message waits at least for everything else.
	shortest = 2 * time.Second
)

var errNotAlone = errors.New("a message that may have crashed a worker waits until it can run alone")

// poison finds messages that crash workers. It counts the tries of messages that keep
// coming back, in the control bucket, before each try. A try that ends in any orderly
// way takes its count back, so that only a death of the process leaves one: neither a
// rolling restart nor a long outage makes a poison message.
//
// A death is counted for everything that was in flight. So a message that has a count
// runs with nothing else in flight: the next crash identifies it. It waits for that
// for a short time and goes back for a longer one: other messages have four fifths of
// the time. The longer it is counted, the longer it waits, in the end for as long as
// any call lasts: so it has its turn, however busy the worker is. Revocations have
// reserved capacity: they go on meanwhile, so that one which kills is counted, in its
// first deliveries, for what runs alone beside it.
type poison struct {
	control *control.Bucket
	longest time.Duration       // that a call, and what belongs to it, takes
	running *semaphore.Weighted // of everything: a message takes one part, one with a count all
}

func newPoison(bucket *control.Bucket, longest time.Duration) *poison {
	return &poison{control: bucket, longest: longest, running: semaphore.NewWeighted(everything)}
}

// try is one handling of a message.
type try struct {
	parts   int64 // of everything that it takes
	counted bool
	fatal   bool // enough tries ended without a word
}

func identityOf(d *delivery) control.Message {
	return control.Message{Stream: d.stream, Sequence: d.sequence, Stored: d.published}
}

// begin counts one more try where the message came back too often. What waits for its
// turn goes back when stop ends. end must follow where there is no error.
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

// acquire waits until the message may run beside what else is in flight, or alone where
// it has been counted for age.
func (p *poison) acquire(stop context.Context, t try, age time.Duration) error {
	if t.parts == 0 {
		return nil // the semaphore would have it queue behind what waits to run alone
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

// end makes room for what waits for its turn.
func (p *poison) end(t try) { p.running.Release(t.parts) }

// clear takes the count of a message back. A count that stays behind is one death too
// many if the message comes again, and no harm otherwise.
func (p *poison) clear(ctx context.Context, d *delivery) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ackTimeout)
	defer cancel()
	_ = p.control.ClearTries(ctx, identityOf(d))
}

// poisoned ends a message that crashed workers, without decoding its body: that may be
// the cause.
func (w *Worker) poisoned(ctx context.Context, d *delivery) error {
	raw := &order.Message{Subject: d.msg.Subject(), Header: d.msg.Headers(), Body: d.msg.Data()}
	h := &handling{w: w, d: d, doubted: true, lost: w.rollbacks.count()}
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
		q.Key.ID = "" // it ends another order, and gets no result
	}
	h.key, h.read = q.Key, &q
	if h.key.ID != "" {
		if err := h.look(ctx); err != nil {
			return h.rest(err)
		}
	}
	if h.wake != nil && h.cur.Phase != "" {
		q.Digest = h.cur.Digest // the wake-up is the order's
	}
	return h.run(ctx, func(order.Remains) order.Event { return order.Poisoned{Request: q} })
}

// begunBy returns the order whose record says that this message began it, and a zero key
// where none does. It reads the whole ledger: deaths are few, and only the body, which is
// not read, may name the order besides.
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
