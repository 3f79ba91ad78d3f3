package telemetry

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Order returns a context whose next span belongs to the trace of an order. That is the
// producer's trace if traceparent is valid, else the trace that every worker derives from
// the order's key. Start the span with the returned options. Without an id, each call
// starts a new trace.
func Order(ctx context.Context, producer, id, traceparent, tracestate string) (context.Context, []trace.SpanStartOption) {
	sent := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": traceparent, "tracestate": tracestate})
	if parent := trace.SpanContextFromContext(sent); parent.IsValid() {
		return trace.ContextWithRemoteSpanContext(ctx, parent), nil
	}
	if id != "" {
		ctx = context.WithValue(ctx, traceKey{}, TraceID(producer, id))
	}
	return ctx, []trace.SpanStartOption{trace.WithNewRoot()}
}

// TraceID returns the trace id of an order whose request has no traceparent: the first
// half of the SHA-256 of <producer>.<id>.
func TraceID(producer, id string) trace.TraceID {
	sum := sha256.Sum256([]byte(producer + "." + id))
	return trace.TraceID(sum[:16])
}

type traceKey struct{}

// ids makes random ids for spans, and for traces that belong to no order.
type ids struct{}

func (ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	id, ok := ctx.Value(traceKey{}).(trace.TraceID)
	for !ok || !id.IsValid() {
		binary.BigEndian.PutUint64(id[:8], rand.Uint64())
		binary.BigEndian.PutUint64(id[8:], rand.Uint64())
		ok = true
	}
	return id, ids{}.NewSpanID(ctx, id)
}

func (ids) NewSpanID(context.Context, trace.TraceID) (id trace.SpanID) {
	for !id.IsValid() {
		binary.BigEndian.PutUint64(id[:], rand.Uint64())
	}
	return id
}
