package consumer

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/telemetry"
)

// Attributes of a span. They hold ids only: no name, certificate or request.
const (
	attrProducer   = attribute.Key("entrust.producer")
	attrOrder      = attribute.Key("entrust.order.id")
	attrKind       = attribute.Key("entrust.kind")
	attrGeneration = attribute.Key("entrust.generation")
	attrPhase      = attribute.Key("entrust.phase")
	attrNext       = attribute.Key("entrust.phase.next")
	attrTrackingID = attribute.Key("entrust.tracking_id")
	attrCA         = attribute.Key("entrust.ca.id")
	attrWorker     = attribute.Key("entrust.worker")
	attrLane       = attribute.Key("entrust.lane")
	attrDue        = attribute.Key("entrust.due")
	attrPolls      = attribute.Key("entrust.polls")
	attrOutcome    = attribute.Key("entrust.outcome")
	attrReason     = attribute.Key("entrust.dead_letter.reason")
	attrOperation  = attribute.Key("entrust.operation")
	attrAnswer     = attribute.Key("entrust.answer")
	attrClass      = attribute.Key("entrust.error.class")
	attrCode       = attribute.Key("entrust.error.code")
	attrDeliveries = attribute.Key("entrust.deliveries")
)

// startSpan starts the span of the handling, in the trace of its order. Without a tracer it
// returns ctx and allocates nothing.
func (h *handling) startSpan(ctx context.Context) context.Context {
	tracer := h.w.cfg.Tracer
	if tracer == nil {
		return ctx
	}
	asker := trace.SpanContextFromContext(ctx)
	parent, state := h.trace()
	ctx, options := telemetry.Order(ctx, h.key.Producer, h.key.ID, parent, state)
	attrs := []attribute.KeyValue{attrProducer.String(h.key.Producer), attrOrder.String(h.key.ID), attrWorker.String(h.w.id)}
	name := "cancel"
	if h.d != nil {
		name = "process " + h.d.lane.name
		attrs = append(attrs,
			attribute.String("messaging.system", "nats"), attribute.String("messaging.operation.type", "process"),
			attribute.String("messaging.operation.name", "process"), attribute.String("messaging.destination.name", h.d.msg.Subject()),
			attribute.String("messaging.consumer.group.name", h.d.lane.consumer), attrDeliveries.Int64(int64(h.d.deliveries)))
		options = append(options, trace.WithSpanKind(trace.SpanKindConsumer), trace.WithTimestamp(h.d.begun))
	} else if asker.IsValid() {
		// The target of a cancellation has its own trace, linked to the trace of the
		// cancellation.
		options = append(options, trace.WithLinks(trace.Link{SpanContext: asker}))
	}
	if h.cur.Phase != "" {
		attrs = append(attrs, attrKind.String(string(h.cur.Kind)), attrPhase.String(string(h.cur.Phase)))
	} else if h.read != nil {
		attrs = append(attrs, attrKind.String(string(h.read.Kind)))
	}
	ctx, span := tracer.Start(ctx, name, append(options, trace.WithAttributes(attrs...))...)
	if span.IsRecording() { // it is sampled
		h.span = span
	}
	return ctx
}

// trace returns the W3C headers of the order's request, from whichever place keeps them.
func (h *handling) trace() (parent, state string) {
	switch {
	case h.read != nil:
		return h.read.Raw.Trace()
	case h.cur.Request != nil:
		return h.cur.Request.Trace()
	case h.cur.Conclusion != nil:
		return h.cur.Conclusion.TraceParent, h.cur.Conclusion.TraceState
	case h.wake != nil:
		return h.wake.Request.Trace()
	}
	return "", ""
}

// endSpan ends the span of the handling, which returned err.
func (h *handling) endSpan(err error) {
	if h.span == nil {
		return
	}
	if h.cur.Phase != "" {
		h.span.SetAttributes(attrKind.String(string(h.cur.Kind)), attrNext.String(string(h.cur.Phase)), attrCA.String(h.cur.CAID))
	}
	if h.cur.Generation > 0 {
		h.span.SetAttributes(attrGeneration.Int(h.cur.Generation))
	}
	if h.cur.TrackingID != "" {
		h.span.SetAttributes(attrTrackingID.String(h.cur.TrackingID))
	}
	var wait *laterError
	switch {
	case err == nil:
	case errors.Is(err, errStopping):
		h.span.AddEvent("handed back")
	case errors.As(err, &wait):
		h.span.AddEvent("waits", trace.WithAttributes(attribute.String("entrust.wait", wait.after.String())))
	default:
		h.span.SetStatus(codes.Error, "the message comes again")
		h.span.SetAttributes(attribute.String("error.type", "bus"))
	}
	h.span.End()
}

// tracedAnswer adds a poll, and a refusal of any call, to the span.
func (h *handling) tracedAnswer(c *order.Call, a *order.Answer) {
	if h.span == nil {
		return
	}
	if c.Op == order.OpPoll {
		h.span.AddEvent("polled", trace.WithAttributes(attrAnswer.String(a.Word.String()), attrPolls.Int(c.Polls+1)))
	}
	switch a.Word {
	case order.Refused, order.Declined, order.NotAccepted, order.NotFound:
	default:
		return
	}
	attrs := []attribute.KeyValue{attrOperation.String(string(c.Op)), attrAnswer.String(a.Word.String())}
	if a.Error != nil {
		// No message: the gateway may name the subject in it.
		attrs = append(attrs, attrClass.String(string(a.Error.Class)), attrCode.String(a.Error.Code))
	}
	h.span.AddEvent("refused", trace.WithAttributes(attrs...))
}

// tracedStep adds an effect to the span.
func (h *handling) tracedStep(step order.Step, d *order.Decision) {
	switch {
	case h.span == nil:
	case step == order.StepWakeup && d.Wakeup != nil:
		h.span.AddEvent("parked", trace.WithAttributes(
			attrLane.String(string(d.Wakeup.Lane)), attrPhase.String(string(h.cur.Phase)), attrDue.String(d.Wakeup.Due.Format(time.RFC3339Nano))))
	case step == order.StepResult && d.Result != nil:
		h.span.AddEvent("result", trace.WithAttributes(attrOutcome.String(string(d.Result.Result.Outcome))))
	case step == order.StepLetter && d.Letter != nil:
		h.span.AddEvent("dead letter", trace.WithAttributes(attrReason.String(string(d.Letter.Reason))))
	}
}
