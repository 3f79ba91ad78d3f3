package consumer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/throttle"
	"github.com/entrust-worker/entrust-worker/internal/wakeup"
)

// newerRest is how long a worker leaves a record or wake-up of a newer worker alone.
const newerRest = time.Minute

// rounds bounds the decisions about one message: calls and their answers, and writes that lost
// against another worker. A message that needs more rounds is delivered again.
const rounds = 20

// handling is the handling of one message by the machine.
type handling struct {
	w *Worker
	d *delivery // nil for the target of a cancellation

	key  order.Key
	cur  order.Stored
	wake *order.Wakeup // the due message, nil for a request
	read *order.Request

	// maybeHandled says that an earlier delivery may have handled the message, whatever the
	// server's count.
	maybeHandled bool
	// reserved is the producer's bound a minute under which the order has a turn; 0 means no
	// turn. after is how long the order waits for its turn.
	reserved int
	after    time.Duration
	// known is what the bus holds for the policy, beside the request.
	known known
	// write is the last write of the record, while it is not acknowledged.
	write *ledger.Write
	// lost is the count of rollbacks that this worker knew when it read the record.
	lost int
	// under is the record under which the last call was made.
	under order.Record
	// called says that the gateway answered. When a stop interrupts the effects that follow,
	// they get a few seconds more, in the context grace. end cancels grace.
	called bool
	grace  context.Context
	end    context.CancelFunc
	// span is the span of the handling, nil without a tracer.
	span trace.Span
}

// live returns ctx. When a stop ended ctx after an answer of the gateway, it returns a context
// that lasts a few seconds more.
func (h *handling) live(ctx context.Context) context.Context {
	if ctx.Err() == nil || !h.called {
		return ctx
	}
	if h.grace == nil {
		h.grace, h.end = context.WithTimeout(context.WithoutCancel(ctx), ackTimeout)
	}
	return h.grace
}

// release ends the context that live made.
func (h *handling) release() {
	if h.end != nil {
		h.end()
	}
}

// doing notes what the message waits for. The log line about a message that is in flight too
// long says it.
func (h *handling) doing(what, of string) {
	if h.d != nil {
		h.d.doing(what, of)
	}
}

// delivered handles a message of the request stream.
func (w *Worker) delivered(ctx context.Context, d *delivery) error {
	q := w.readRequest(d)
	w.metrics.Request(string(q.Kind), q.Key.Producer)
	if isByHand(q.Kind) {
		return w.byHand(ctx, d, q)
	}
	// A generation means that the order existed before, even if the ledger has no record of it.
	h := &handling{w: w, d: d, key: q.Key, read: q, maybeHandled: d.deliveries > 1 || q.Generation > 0}
	if q.Kind == entrustbus.KindIssue {
		past, err := w.rollbacks.fleet(ctx)
		if err != nil {
			return err
		}
		h.maybeHandled = h.maybeHandled || w.rollbacks.predates(past, d)
	}
	h.lost = w.rollbacks.count()
	if h.maybeHandled && q.Key.ID != "" {
		// The common case is the first delivery of a new order: one write and no read.
		if err := h.readRecord(ctx); err != nil {
			return h.rest(err)
		}
	}
	// An order that has begun stays at its CA, even if the gateway no longer lists it.
	if q.Problem == nil && h.cur.Phase == "" {
		ca, _ := q.CA()
		q.Problem = w.cas.refuses(ctx, ca)
	}
	return h.run(ctx, func(r order.Remains) order.Event { return order.Delivered{Request: *q, Remains: r} })
}

// readRequest reads the message of a request lane.
func (w *Worker) readRequest(d *delivery) *order.Request {
	raw := &order.Message{Subject: d.msg.Subject(), Header: d.msg.Headers(), Body: d.msg.Data()}
	q := order.Read(w.subjects, raw, order.Limits{MaxWait: w.cfg.MaxWaitLimit, Size: w.nc.MaxPayload(), Verifiable: w.cfg.RefuseUnverified})
	q.Ref = order.Ref{Sequence: d.sequence, Time: d.published}
	q.Deliveries = int(d.deliveries)
	return &q
}

// woken handles a due message.
func (w *Worker) woken(ctx context.Context, d *delivery) error {
	wake, err := w.wakeups.Read(d.msg.Subject(), d.msg.Headers(), d.msg.Data())
	switch {
	case errors.Is(err, wakeup.ErrNewerFormat):
		return later(newerRest, err)
	case err != nil:
		return w.stray(ctx, d, err)
	}
	if wake.Early(w.now()) {
		if err := w.control.MeasureClock(ctx); err != nil {
			return later(time.Second, fmt.Errorf("a wake-up of %s came early: %w", wake.Key, err))
		}
	}
	h := &handling{w: w, d: d, key: wake.Key, wake: wake, maybeHandled: d.deliveries > 1 || !w.connAge.since(wake.Due, w.now())}
	if err := h.readRecord(ctx); err != nil {
		return h.rest(err)
	}
	if h.cur.Phase == order.Awaiting {
		w.metrics.Poll(max(0, w.now().Sub(wake.Due)))
	}
	return h.run(ctx, func(r order.Remains) order.Event {
		return order.Woken{Wakeup: *wake, Remains: r, Fired: d.published, Request: h.asked}
	})
}

// stray ends a message on a due subject that no worker published.
func (w *Worker) stray(ctx context.Context, d *delivery, why error) error {
	q := w.readRequest(d)
	q.Key, q.Problem = order.Key{}, why
	q.Kind = ""
	h := &handling{w: w, d: d, read: q, lost: w.rollbacks.count()}
	return h.run(ctx, func(r order.Remains) order.Event { return order.Delivered{Request: *q, Remains: r} })
}

// rest turns an error of a read into the outcome of the message.
func (h *handling) rest(err error) error {
	if errors.Is(err, order.ErrNewerFormat) || errors.Is(err, wakeup.ErrNewerFormat) {
		return later(newerRest, err)
	}
	return err
}

// readRecord reads the record of the order.
func (h *handling) readRecord(ctx context.Context) error {
	h.lost = h.w.rollbacks.count()
	cur, err := h.w.ledger.Get(ctx, h.key)
	if errors.Is(err, order.ErrNotARecord) {
		// It may have been a record. The ledger counts as having lost the order.
		h.w.log.WarnContext(ctx, "the ledger holds a value that is not a record under an order's key", "producer", h.key.Producer, "order", h.key.ID, "err", err)
		err = nil
	}
	h.cur = cur
	return err
}

// remains reads what the bus holds of the order beside its record, where the decision depends
// on it.
func (h *handling) remains(ctx context.Context) (order.Remains, error) {
	r := order.Remains{CanLookUp: h.w.gw.CanFind(), LostSince: h.w.rollbacks.lostSince(h.cur.RequestedAt)}
	r.Judge = h.judge
	err := h.learn(ctx)
	if err != nil {
		return r, err
	}
	if r.Forgotten, err = h.forgotten(ctx); err != nil {
		return r, err
	}
	if h.d == nil || h.key.ID == "" || !h.cur.NeedsRemains(h.maybeHandled) {
		return r, nil
	}
	if r.Result, _, err = h.w.results.Last(ctx, h.key); err != nil || r.Result != nil {
		return r, err
	}
	if h.cur.Phase != "" && (h.wake != nil || !h.cur.Phase.Waits()) {
		return r, nil
	}
	if r.Wakeup, _, err = h.w.wakeups.Find(ctx, h.key); err != nil {
		return r, fmt.Errorf("reading the wake-up of %s: %w", h.key, err)
	}
	if h.cur.Phase != "" {
		return r, nil
	}
	if r.Wakeup == nil {
		if r.Wakeup, err = h.w.wakeups.FindDue(ctx, h.key); err != nil {
			return r, fmt.Errorf("reading the wake-up of %s: %w", h.key, err)
		}
	}
	if h.cur.Revision != 0 {
		r.Forgotten = true
		return r, nil
	}
	made, err := h.w.ledger.Made(ctx)
	r.Forgotten = r.Forgotten || h.d.published.Before(made)
	return r, err
}

// forgotten reports whether the bus lost its last writes after it stored the known record. It
// may then have lost a later record too. This matters only for an order that may be submitted.
// A worker with an answer of the gateway does not wait for the other workers.
func (h *handling) forgotten(ctx context.Context) (bool, error) {
	kind, phase := h.cur.Kind, h.cur.Phase
	if phase == "" && h.wake == nil && h.read != nil {
		kind = h.read.Kind
	}
	if kind != entrustbus.KindIssue || phase == order.Awaiting || phase == order.Concluded {
		return false, nil
	}
	last := h.w.rollbacks.fleet
	if h.called {
		last = h.w.rollbacks.own
	}
	past, err := last(ctx)
	switch {
	case err != nil || past.Count == 0:
		return false, err
	case past.Count != h.lost:
		return true, nil
	case phase != "" && phase != order.Closed:
		return past.Ledger.Holds(h.cur.Revision), nil
	}
	return h.d != nil && h.wake == nil && h.w.rollbacks.predates(past, h.d), nil
}

// rolledBack reports whether the bus lost writes after the record was read. Then the effects so
// far may be lost, and an acknowledgement would lose the order.
func (h *handling) rolledBack(ctx context.Context) (bool, error) {
	past, err := h.w.rollbacks.own(ctx)
	return past.Count != h.lost, err
}

// asked reads the request of the order, once. It comes from the message, the record or the
// wake-up. It is nil when none of them holds it.
func (h *handling) asked() *order.Request {
	if h.read != nil {
		return h.read
	}
	raw := h.cur.Request
	if raw == nil && h.wake != nil {
		raw = h.wake.Request
	}
	if raw == nil {
		return nil
	}
	// No limits: they were checked when the request came.
	q := order.Read(h.w.subjects, raw, order.Limits{})
	if h.d != nil {
		q.Deliveries = int(h.d.deliveries)
	}
	h.read = &q
	return h.read
}

// run decides about the event in a span of its own. event builds the event from what the bus
// holds.
func (h *handling) run(ctx context.Context, event func(order.Remains) order.Event) error {
	ctx = h.startSpan(ctx)
	err := h.conclude(ctx, event)
	h.endSpan(err)
	return err
}

// conclude decides about the event, carries the decision out, makes its call, and decides about
// the answer. It ends at a decision without a call.
func (h *handling) conclude(ctx context.Context, event func(order.Remains) order.Event) error {
	defer h.release()
	work := ctx
	h.doing("read", "what the bus holds of the order")
	left, err := h.remains(ctx)
	if err != nil {
		return h.rest(err)
	}
	happened := event // decided again when another worker changed the record
	for range rounds {
		ctx := h.live(work)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if h.called {
			if left.Forgotten, err = h.forgotten(ctx); err != nil {
				return err
			}
			h.lost = h.w.rollbacks.count() // what follows is decided by that
		}
		ev := event(left)
		d := h.decide(ev)
		var permit *permit
		if d.Call != nil {
			h.doing("permit", string(d.Call.Op))
			permit, err = h.w.throttle.admit(ctx, d.Call, h.scope(h.ca(&d)), h.calls())
			if open, ok := errors.AsType[*throttle.OpenError](err); ok {
				h.giveTurnBack()
				d = h.decide(order.Deferred{By: ev, For: open.RetryIn, Request: h.asked})
				d.Notice.Cause = open.Error()
			} else if err != nil {
				return err
			}
		}
		begun := startWatch()
		err = h.carry(ctx, &d)
		if err != nil && permit != nil {
			permit.Done(throttle.None())
		}
		refused, oversized := errors.AsType[*refusedError](err)
		switch {
		case errors.Is(err, ledger.ErrConflict):
			if left, err = h.again(ctx); err != nil {
				return h.rest(err)
			}
			event = happened
			continue
		case errors.Is(err, errRolledBack):
			if !h.called {
				return later(time.Second, err)
			}
			if left, err = h.again(ctx); err != nil {
				return h.rest(err)
			}
			event = happened
			continue
		case oversized:
			event = func(order.Remains) order.Event {
				return order.Oversized{Decision: d, Step: refused.step, Request: h.asked}
			}
			continue
		case err != nil && d.Call != nil && h.write != nil:
			// A stop interrupted the write, which may be stored: the record would say that a
			// call may be under way.
			h.called = true
			h.cur.Record = *d.Record
			event = h.answered(*d.Call, notCalled(err))
			happened = event
			continue
		case err != nil || d.Call == nil:
			return err
		}
		if d.Call.Op == order.OpTarget {
			target, err := h.target(ctx)
			if err != nil {
				return err
			}
			event = func(order.Remains) order.Event { return order.Targeted{Target: target, Request: h.asked} }
			happened = event
			continue
		}
		h.under = h.cur.Record
		gone, err := h.rolledBack(ctx)
		if err != nil || gone && d.Call.Op == order.OpEnroll {
			permit.Done(throttle.None())
			if err != nil {
				return err
			}
			// The record is written, but the bus may have lost a later one.
			event = h.answered(*d.Call, notAnswered(errRolledBack))
			happened = event
			h.called = true
			continue
		}
		h.doing("call", string(d.Call.Op))
		failpoint("call.before")
		answer := h.call(ctx, d.Call, permit, begun)
		failpoint("call.after")
		h.tracedAnswer(d.Call, &answer)
		event = h.answered(*d.Call, answer)
		happened = event
		h.called = true
	}
	return later(time.Second, fmt.Errorf("deciding about %s: other workers changed the record %d times", h.key, rounds))
}

// again reads the record that another worker changed, and what the bus holds beside it. With an
// answer of the gateway it repeats a failed read.
func (h *handling) again(ctx context.Context) (order.Remains, error) {
	h.maybeHandled = true
	read := func(ctx context.Context) (order.Remains, error) {
		if err := h.readRecord(ctx); err != nil {
			return order.Remains{}, err
		}
		if h.called && (h.cur.Phase == "" || h.cur.Generation < h.under.Generation) {
			h.cur.Record = h.under // the later record is lost; the answer belongs to this one
		}
		return h.remains(ctx)
	}
	if !h.called {
		return read(ctx)
	}
	return persist(ctx, h, "reading a record that another worker changed", read)
}

func (h *handling) answered(c order.Call, a order.Answer) func(order.Remains) order.Event {
	return func(r order.Remains) order.Event {
		return order.Answered{Call: c, Answer: a, Remains: r, Request: h.asked}
	}
}

func (h *handling) decide(ev order.Event) order.Decision {
	return h.w.machine.Decide(h.w.now(), rand.Float64(), h.key, h.cur, ev)
}

// calls bounds the concurrent calls of the lane. It is nil for the target of a cancellation,
// since the lane counts the cancellation.
func (h *handling) calls() chan struct{} {
	if h.d == nil {
		return nil
	}
	return h.d.lane.calls
}

// ca is the CA of a decision's call.
func (h *handling) ca(d *order.Decision) string {
	if d.Record != nil {
		return d.Record.CAID
	}
	return h.cur.CAID
}

// target sends Cancelled to the order that a cancellation names, and returns its record.
func (h *handling) target(ctx context.Context) (order.Stored, error) {
	t := &handling{w: h.w, key: order.Key{Producer: h.key.Producer, ID: targetOf(h.asked())}}
	if err := t.readRecord(ctx); err != nil || t.cur.Phase == "" {
		return t.cur, t.rest(err)
	}
	if err := t.run(ctx, func(r order.Remains) order.Event { return order.Cancelled{Remains: r, Request: t.asked} }); err != nil {
		return t.cur, err
	}
	err := t.readRecord(ctx)
	return t.cur, t.rest(err)
}
