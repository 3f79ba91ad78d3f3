package gateway

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	attr "go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// startSpan begins the client span of one try of a call, by the HTTP conventions of
// OpenTelemetry. A call outside a trace, as a probe is, or in an unsampled trace has no span:
// startSpan then returns ctx and nil, and allocates nothing. The span does not have the
// query, which may hold names.
func (c *Client) startSpan(ctx context.Context, q call, try int) (context.Context, trace.Span) {
	caller := trace.SpanFromContext(ctx)
	if !caller.IsRecording() {
		return ctx, nil
	}
	attrs := []attr.KeyValue{
		attr.String("http.request.method", q.method), attr.String("url.full", c.base+"/"+q.path),
		attr.String("entrust.operation", string(q.op)),
	}
	if u, err := url.Parse(c.base); err == nil {
		attrs = append(attrs, attr.String("server.address", u.Hostname()))
		port := u.Port()
		if port == "" {
			port = "443"
		}
		if n, err := strconv.Atoi(port); err == nil {
			attrs = append(attrs, attr.Int("server.port", n))
		}
	}
	if try > 1 {
		attrs = append(attrs, attr.Int("http.request.resend_count", try-1))
	}
	tracer := caller.TracerProvider().Tracer("github.com/entrust-worker/entrust-worker/internal/gateway")
	return tracer.Start(ctx, q.method+" "+string(q.op), trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attrs...))
}

// endSpan ends the span of a try; a nil span is ignored. err is the error of a call that cannot
// be built.
func endSpan(span trace.Span, r reply, err error) {
	if span == nil {
		return
	}
	if r.status != 0 {
		span.SetAttributes(attr.Int("http.response.status_code", r.status))
	}
	kind := ""
	switch {
	case err != nil:
		kind = "request"
	case r.err != nil && timedOut(r.err):
		kind = "timeout"
	case r.phase != phaseAnswered && r.phase != phaseEarly:
		kind = r.phase.String()
	case r.status >= http.StatusBadRequest:
		kind = strconv.Itoa(r.status)
	}
	if kind != "" {
		span.SetAttributes(attr.String("error.type", kind))
		span.SetStatus(codes.Error, "")
	}
	span.End()
}

// String returns the phase as error.type of a span names it.
func (p phase) String() string {
	words := [...]string{
		phaseAnswered: "answered", phaseNoKeyPair: "key_pair", phaseBadClient: "client_certificate", phaseAbandoned: "abandoned",
		phaseUnsent: "unsent", phaseUnprocessed: "unprocessed", phaseClientAuth: "client_certificate", phaseNoAnswer: "no_answer",
		phaseCut: "cut_answer", phaseOversize: "oversize_answer", phaseEarly: "early_answer",
	}
	if p < 1 || int(p) >= len(words) {
		return "unknown"
	}
	return words[p]
}
