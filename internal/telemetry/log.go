package telemetry

import (
	"context"
	"fmt"
	"log/slog"

	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	sdk "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/trace"
)

// logs exports log records.
type logs struct{ provider *sdk.LoggerProvider }

func (t *Telemetry) startLogs(ctx context.Context, protocol string, res *resource.Resource, log *slog.Logger) error {
	var exporter sdk.Exporter
	var err error
	if protocol == grpc {
		exporter, err = otlploggrpc.New(ctx)
	} else {
		exporter, err = otlploghttp.New(ctx)
	}
	if err != nil {
		return fmt.Errorf("making the exporter of logs: %w", err)
	}
	provider := sdk.NewLoggerProvider(
		sdk.WithProcessor(sdk.NewBatchProcessor(&records{exporter, newTrouble("logs", log)})), sdk.WithResource(res))
	t.logs = &logs{provider}
	t.stops = append(t.stops, provider.Shutdown)
	return nil
}

// Log returns a logger that adds the exports of this process to log: the ids of the
// current span in each line, and an OTLP record for each line. rewrite is applied to the
// values of such a record, like slog.HandlerOptions.ReplaceAttr to those of a line; nil
// changes nothing. If this process exports nothing, Log returns log itself.
func (t *Telemetry) Log(log *slog.Logger, rewrite func(groups []string, a slog.Attr) slog.Attr) *slog.Logger {
	if t == nil || t.tracer == nil && t.logs == nil {
		return log
	}
	here := log.Handler()
	if t.tracer != nil {
		here = correlated{here}
	}
	if t.logs == nil {
		return slog.New(here)
	}
	away := otelslog.NewHandler(scope, otelslog.WithLoggerProvider(t.logs.provider))
	// The exported records have the same level as the lines.
	return slog.New(slog.NewMultiHandler(here, levelled{rewritten{away, rewrite}, log.Handler()}))
}

// correlated adds the ids of the context's span to a line.
type correlated struct{ slog.Handler }

func (c correlated) Handle(ctx context.Context, r slog.Record) error {
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		r = r.Clone()
		r.AddAttrs(slog.String("trace_id", span.TraceID().String()), slog.String("span_id", span.SpanID().String()))
	}
	return c.Handler.Handle(ctx, r)
}

func (c correlated) WithAttrs(attrs []slog.Attr) slog.Handler {
	return correlated{c.Handler.WithAttrs(attrs)}
}
func (c correlated) WithGroup(name string) slog.Handler { return correlated{c.Handler.WithGroup(name)} }

// levelled accepts the same levels as another handler.
type levelled struct {
	slog.Handler
	as slog.Handler
}

func (l levelled) Enabled(ctx context.Context, level slog.Level) bool {
	return l.as.Enabled(ctx, level)
}
func (l levelled) WithAttrs(attrs []slog.Attr) slog.Handler {
	return levelled{l.Handler.WithAttrs(attrs), l.as}
}
func (l levelled) WithGroup(name string) slog.Handler {
	return levelled{l.Handler.WithGroup(name), l.as}
}

// rewritten changes values before they are exported.
type rewritten struct {
	slog.Handler
	rewrite func([]string, slog.Attr) slog.Attr
}

func (w rewritten) Handle(ctx context.Context, r slog.Record) error {
	out := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool { out.AddAttrs(w.changed(a)); return true })
	return w.Handler.Handle(ctx, out)
}

func (w rewritten) changed(a slog.Attr) slog.Attr {
	if w.rewrite == nil {
		return a
	}
	a.Value = a.Value.Resolve()
	return w.rewrite(nil, a)
}

func (w rewritten) WithAttrs(attrs []slog.Attr) slog.Handler {
	changed := make([]slog.Attr, 0, len(attrs))
	for _, a := range attrs {
		changed = append(changed, w.changed(a))
	}
	return rewritten{w.Handler.WithAttrs(changed), w.rewrite}
}

func (w rewritten) WithGroup(name string) slog.Handler {
	return rewritten{w.Handler.WithGroup(name), w.rewrite}
}
