// Package telemetry exports traces, and logs where asked, over OTLP. The standard OTEL_*
// variables of OpenTelemetry configure it; without them it does nothing and costs nothing.
//
// # One trace for each order
//
// Every handling of an order's message is one span. Its parent is the context that the
// producer sent in traceparent and tracestate, which the request keeps through every park
// and replay. An order without such a context has a trace all the same: each worker derives
// the same trace id from the order's key, so nothing has to be stored or passed on.
//
// # Trouble
//
// A span or log record goes into a bounded queue. Where the queue is full it is dropped.
// No order ever waits for an exporter.
package telemetry
