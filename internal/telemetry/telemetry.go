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

// service is service.name where neither OTEL_SERVICE_NAME nor OTEL_RESOURCE_ATTRIBUTES has one.
const service = "entrust-worker"

// Telemetry is what one process exports. Make it with Start. A nil *Telemetry exports
// nothing. It is safe for concurrent use.
type Telemetry struct {
	tracer api.Tracer // nil: no traces
	logs   *logs      // nil: no logs
	stops  []func(context.Context) error
}

// Start reads OTEL_* through getenv, and starts what they ask for. The libraries below read
// the variables of the process itself: getenv is os.Getenv, except in tests of the choice.
// version is service.version. log gets the trouble of exporters; it must not lead back to
// Telemetry.Log. What cannot be exported is logged and left out: Start never fails.
func Start(ctx context.Context, getenv func(string) string, version string, log *slog.Logger) *Telemetry {
	c := choose(getenv)
	for _, w := range c.warnings {
		log.WarnContext(ctx, "reading the OpenTelemetry variables", "warning", w)
	}
	t := new(Telemetry)
	if c.traces == "" && c.logs == "" {
		return t
	}
	// The libraries report through globals of their own, and write to standard error unless they
	// are set. The values beside a message may be credentials.
	otel.SetLogger(quiet(log))
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("exporting telemetry", "err", short(err)) }))
	res, err := describe(ctx, version)
	if err != nil {
		log.WarnContext(ctx, "describing this process for OpenTelemetry", "err", short(err))
	}
	if c.traces != "" {
		if err := t.startTraces(ctx, c.traces, res, log); err != nil {
			log.WarnContext(ctx, "starting the export of traces; there are none", "err", short(err))
		}
	}
	if c.logs != "" {
		if err := t.startLogs(ctx, c.logs, res, log); err != nil {
			log.WarnContext(ctx, "starting the export of logs; they are written here alone", "err", short(err))
		}
	}
	log.InfoContext(ctx, "exporting telemetry over OTLP", "traces", t.tracer != nil, "logs", t.logs != nil)
	return t
}

// describe returns what every span and log record says of this process. Where a part of it is
// wrong, the rest counts.
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

// trace begins to export traces through exporter.
func (t *Telemetry) trace(exporter trace.SpanExporter, res *resource.Resource, log *slog.Logger) {
	provider := trace.NewTracerProvider(
		trace.WithBatcher(&spans{exporter, newTrouble("traces", log)}),
		trace.WithResource(res), trace.WithIDGenerator(ids{}),
	)
	t.tracer = provider.Tracer(scope)
	t.stops = append(t.stops, provider.Shutdown)
}

// Tracer makes the spans of orders. It is nil where no traces are exported.
func (t *Telemetry) Tracer() api.Tracer {
	if t == nil {
		return nil
	}
	return t.tracer
}

// maxFlush bounds how long a stop waits for an exporter, minFlush is what it has at least.
const (
	maxFlush = 5 * time.Second
	minFlush = time.Second
)

// StopWithin returns what ends the export, to be called once when everything else has ended. It
// waits for what is queued within what is left of drain since ctx was done: a collector that does
// not answer keeps no process from its end.
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
			log.Warn("exporting the last telemetry; it is dropped", "err", short(err))
		}
	}
}

// Shutdown exports what is queued, until ctx is done. Nothing is exported after it.
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
