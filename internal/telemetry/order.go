package telemetry

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Order returns a context whose next span belongs to the trace of an order: that of the
// producer where traceparent is one, else the trace that every worker derives from the order's
// key. The span is to be started with the options. An order without an id has a trace of its own
// each time.
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

// TraceID is the id of the trace of an order whose request has no traceparent: the first half
// of the SHA-256 of <producer>.<id>.
func TraceID(producer, id string) trace.TraceID {
	sum := sha256.Sum256([]byte(producer + "." + id))
	return trace.TraceID(sum[:16])
}

type traceKey struct{}

// ids makes the ids of spans, and of traces that are not an order's, at random.
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
