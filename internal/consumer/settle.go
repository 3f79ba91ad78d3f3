package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/entrust-worker/entrust-worker/internal/order"
)

// errStopping is the cause of every context that a stop cancels. An interrupted message goes
// back at once and costs no attempt.
var errStopping = errors.New("the worker is stopping")

// laterError returns a message to the server for a time.
type laterError struct {
	after time.Duration
	why   error
}

func (e *laterError) Error() string { return fmt.Sprintf("again in %s: %v", e.after, e.why) }
func (e *laterError) Unwrap() error { return e.why }

// later is the error of a handler whose message must wait, for example for an order lease or a
// settle time. It is not logged as an error.
func later(after time.Duration, why error) error {
	return &laterError{after: max(after, 100*time.Millisecond), why: why}
}

// retryWait is how long a message waits after its n-th delivery ended in an error without a
// rule of its own.
func retryWait(deliveries uint64) time.Duration {
	return min(time.Second<<min(deliveries, 5), 30*time.Second)
}

// settle sends the server the answer that a decision has for its message.
//
//	order.Ack      ack; the order's state is stored elsewhere, so a lost ack repeats no effect
//	order.AckSure  ack with confirmation: no record shows that the message is handled
//	order.Return   nak with a delay
//
// Only this file answers the server. A nak ignores AckWait and BackOff, and MaxDeliver is off,
// so the server never drops a message by itself. A lost nak costs one AckWait.
func (w *Worker) settle(ctx context.Context, d *delivery, s order.Settle) {
	var err error
	switch s.Verb {
	case order.AckSure:
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ackTimeout)
		defer cancel()
		err = d.msg.DoubleAck(ctx)
	case order.Ack:
		err = d.msg.Ack()
	case order.Return:
		err = d.msg.NakWithDelay(max(s.After, 100*time.Millisecond))
	}
	w.unsettled(ctx, d, err)
}

// handBack returns a message to the server that could not be handled:
//
//	errStopping  nak without delay: another worker continues at once
//	laterError   nak with its delay
//	other        nak with a delay that grows with the deliveries, and a log line
func (w *Worker) handBack(ctx context.Context, d *delivery, err error) {
	var wait *laterError
	var answer error
	switch {
	case errors.Is(err, errStopping):
		answer = d.msg.Nak()
	case errors.As(err, &wait):
		w.log.DebugContext(ctx, "waiting", "subject", d.msg.Subject(), "wait", wait.after, "err", wait.why)
		answer = d.msg.NakWithDelay(wait.after)
	default:
		after := retryWait(d.deliveries)
		w.log.WarnContext(ctx, "handling a message; the server redelivers it", "subject", d.msg.Subject(), "wait", after, "err", err)
		answer = d.msg.NakWithDelay(after)
	}
	w.unsettled(ctx, d, answer)
}

func (w *Worker) unsettled(ctx context.Context, d *delivery, err error) {
	if err != nil {
		w.log.WarnContext(ctx, "acknowledging or returning a message; the server redelivers it after the ack wait", "subject", d.msg.Subject(), "err", err)
	}
}

// extend asks the server for another ack wait. It moves the delivery's own deadline only after
// the server answered. The server also answers for a message that it has redelivered to another
// worker: the ledger shows that, not the answer.
func (w *Worker) extend(ctx context.Context, d *delivery) {
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	asked := time.Now()
	if _, err := w.nc.RequestMsgWithContext(ctx, &nats.Msg{Subject: d.msg.Reply(), Data: []byte("+WPI")}); err != nil {
		w.log.DebugContext(ctx, "extending the ack wait", "subject", d.msg.Subject(), "err", err)
		return
	}
	d.ackDeadline.Store(asked.Add(w.cfg.Layout.AckWait).UnixNano())
}
