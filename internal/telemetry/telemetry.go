package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	api "go.opentelemetry.io/otel/trace"
)

// scope names this program as the source of spans and log records.
const scope = "github.com/entrust-worker/entrust-worker"

// service is service.name if neither OTEL_SERVICE_NAME nor OTEL_RESOURCE_ATTRIBUTES sets
// it.
const service = "entrust-worker"

// Telemetry is the export of one process. Make it with Start. A nil *Telemetry exports
// nothing. It is safe for concurrent use.
type Telemetry struct {
	tracer api.Tracer // nil: no traces
	logs   *logs      // nil: no logs
	stops  []func(context.Context) error
}

// Start reads OTEL_* through getenv and starts the requested exports. The OpenTelemetry
// libraries read the process's own variables: getenv must be os.Getenv, except in tests
// of the choice. version is service.version. log receives export errors; it must not be a
// logger from Telemetry.Log. Start logs a failure and leaves that export out: it never
// fails.
func Start(ctx context.Context, getenv func(string) string, version string, log *slog.Logger) *Telemetry {
	c := choose(getenv)
	for _, w := range c.warnings {
		log.WarnContext(ctx, "an OpenTelemetry variable is invalid", "warning", w)
	}
	t := new(Telemetry)
	if c.traces == "" && c.logs == "" {
		return t
	}
	// The libraries report through their own globals, and write to standard error unless
	// these are set. The values of a message may be credentials.
	otel.SetLogger(quiet(log))
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("exporting telemetry", "err", short(err)) }))
	res, err := describe(ctx, version)
	if err != nil {
		log.WarnContext(ctx, "describing this process for OpenTelemetry failed in part", "err", short(err))
	}
	if c.traces != "" {
		if err := t.startTraces(ctx, c.traces, res, log); err != nil {
			log.WarnContext(ctx, "starting the export of traces failed; there are no traces", "err", short(err))
		}
	}
	if c.logs != "" {
		if err := t.startLogs(ctx, c.logs, res, log); err != nil {
			log.WarnContext(ctx, "starting the export of logs failed; this log is their only copy", "err", short(err))
		}
	}
	log.InfoContext(ctx, "exporting telemetry over OTLP", "traces", t.tracer != nil, "logs", t.logs != nil)
	return t
}

// describe returns the attributes of this process for every span and log record. With an
// error it returns the valid part.
func describe(ctx context.Context, version string) (*resource.Resource, error) {
	return resource.New(ctx,
		resource.WithAttributes(semconv.ServiceName(service), semconv.ServiceVersion(version)),
		resource.WithTelemetrySDK(), resource.WithHost(), resource.WithProcessPID(), resource.WithFromEnv())
}

func (t *Telemetry) startTraces(ctx context.Context, protocol string, res *resource.Resource, log *slog.Logger) error {
	var exporter trace.SpanExporter
	var err error
	if protocol == grpc {
		exporter, err = otlptracegrpc.New(ctx)
	} else {
		exporter, err = otlptracehttp.New(ctx)
	}
	if err != nil {
		return fmt.Errorf("making the exporter of traces: %w", err)
	}
	t.trace(exporter, res, log)
	return nil
}

// trace starts to export traces through exporter.
func (t *Telemetry) trace(exporter trace.SpanExporter, res *resource.Resource, log *slog.Logger) {
	provider := trace.NewTracerProvider(
		trace.WithBatcher(&spans{exporter, newTrouble("traces", log)}),
		trace.WithResource(res), trace.WithIDGenerator(ids{}),
	)
	t.tracer = provider.Tracer(scope)
	t.stops = append(t.stops, provider.Shutdown)
}

// Tracer returns the tracer for the spans of orders; nil if no traces are exported.
func (t *Telemetry) Tracer() api.Tracer {
	if t == nil {
		return nil
	}
	return t.tracer
}

// maxFlush bounds how long a stop waits for an exporter; minFlush is its minimum.
const (
	maxFlush = 5 * time.Second
	minFlush = time.Second
)

// StopWithin returns the function that ends the export; call it once, after everything
// else has ended. It waits for queued data until drain after the end of ctx, so a
// collector that does not answer does not hold the process up.
func (t *Telemetry) StopWithin(ctx context.Context, drain time.Duration, log *slog.Logger) func() {
	began := make(chan time.Time, 1)
	forget := context.AfterFunc(ctx, func() { began <- time.Now() })
	return func() {
		left := maxFlush
		if !forget() {
			left = max(min(left, drain-time.Since(<-began)), minFlush)
		}
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), left)
		defer cancel()
		if err := t.Shutdown(end); err != nil {
			log.Warn("exporting the last telemetry failed; it is dropped", "err", short(err))
		}
	}
}

// Shutdown exports the queued data, until ctx ends. After it nothing is exported.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	if t == nil {
		return nil
	}
	errs := make([]error, len(t.stops))
	var all sync.WaitGroup
	for i, stop := range t.stops {
		all.Go(func() { errs[i] = stop(ctx) })
	}
	all.Wait()
	return errors.Join(errs...)
}
