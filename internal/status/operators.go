package status

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go/micro"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// Suspender suspends and resumes calls. *consumer.Worker implements it.
type Suspender interface {
	// Suspend stops calls for the fleet, Resume allows them again. Both write the audit
	// record first. The error is a *entrustbus.FieldError if the order is invalid.
	Suspend(ctx context.Context, s *entrustbus.Suspension) (*entrustbus.Suspended, error)
	Resume(ctx context.Context, s *entrustbus.Suspension) (*entrustbus.Suspended, error)
}

// ordered carries out an operator's order. NATS permissions ensure that the sender is an
// operator.
func (s *Service) ordered(do func(context.Context, *entrustbus.Suspension) (*entrustbus.Suspended, error)) answering {
	return func(ctx context.Context, r micro.Request, q question) {
		order, err := entrustbus.DecodeSuspension(q.encoding, r.Data())
		if err != nil {
			s.fail(r, entrustbus.AnswerInvalid, err)
			return
		}
		answer, err := do(ctx, order)
		if _, wrong := errors.AsType[*entrustbus.FieldError](err); wrong {
			s.fail(r, entrustbus.AnswerInvalid, err)
			return
		}
		if err != nil {
			s.Log.Warn("carrying out an operator's order failed", "subject", r.Subject(), "operator", order.Operator, "err", err)
			s.fail(r, entrustbus.AnswerUnavailable, errors.New("the order may not have been carried out: the worker cannot write to the bus; try again"))
			return
		}
		s.answer(r, q, answer)
	}
}
