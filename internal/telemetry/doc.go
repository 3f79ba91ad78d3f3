// Package telemetry exports traces, and optionally logs, over OTLP. OpenTelemetry's
// standard OTEL_* variables configure it. Without them it does nothing and costs nothing.
//
// # One trace for each order
//
// Each handling of an order's message is one span. Its parent is the producer's context
// from traceparent and tracestate, which the request keeps through every park and replay.
// An order without such a context has a trace, too: each worker derives the same trace id
// from the order's key, so the bus need not store it.
//
// # Trouble
//
// Spans and log records go into a bounded queue. A full queue drops them. No order ever
// waits for an exporter.
package telemetry
