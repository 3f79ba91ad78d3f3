package telemetry

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/trace"
)

// trouble logs failing exports of a signal: when they begin, each repeatAfter while they
// last, and when they end.
type trouble struct {
	signal string
	log    *slog.Logger

	mu          sync.Mutex
	since, said time.Time // zero: none
}

// repeatAfter is the shortest time between two lines about the same failure.
const repeatAfter = 5 * time.Minute

func newTrouble(signal string, log *slog.Logger) *trouble { return &trouble{signal: signal, log: log} }

// note records the result of one export; nil is a success.
func (t *trouble) note(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	switch {
	case err == nil && !t.since.IsZero():
		t.log.Info("exporting "+t.signal+" again", "outage", now.Sub(t.since).Round(time.Millisecond))
		t.since, t.said = time.Time{}, time.Time{}
	case err == nil:
	case t.said.IsZero() || now.Sub(t.said) >= repeatAfter:
		if t.since.IsZero() {
			t.since = now
		}
		t.said = now
		t.log.Warn("exporting "+t.signal+"; they are dropped, orders are not affected", "err", short(err))
	}
}

// short returns the first line of an error, because it may hold a collector's whole
// answer.
func short(err error) string {
	const most = 300
	text, _, _ := strings.Cut(err.Error(), "\n")
	return strings.ToValidUTF8(text[:min(len(text), most)], "")
}

// spans logs the errors of an exporter here. Otherwise its caller would report them to a
// global.
type spans struct {
	trace.SpanExporter
	trouble *trouble
}

func (s *spans) ExportSpans(ctx context.Context, batch []trace.ReadOnlySpan) error {
	s.trouble.note(s.SpanExporter.ExportSpans(ctx, batch))
	return nil
}

// records is the same as spans for log records.
type records struct {
	log.Exporter
	trouble *trouble
}

func (r *records) Export(ctx context.Context, batch []log.Record) error {
	r.trouble.note(r.Exporter.Export(ctx, batch))
	return nil
}

// quiet returns a logger for the OpenTelemetry libraries that logs their messages without
// values. A value may be a header that cannot be parsed.
func quiet(log *slog.Logger) logr.Logger {
	return logr.FromSlogHandler(bare{log.Handler()})
}

type bare struct{ next slog.Handler }

func (b bare) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && b.next.Enabled(ctx, level)
}

func (b bare) Handle(ctx context.Context, r slog.Record) error {
	return b.next.Handle(ctx, slog.NewRecord(r.Time, r.Level, "OpenTelemetry: "+r.Message, r.PC))
}

func (b bare) WithAttrs([]slog.Attr) slog.Handler { return b }
func (b bare) WithGroup(string) slog.Handler      { return b }
