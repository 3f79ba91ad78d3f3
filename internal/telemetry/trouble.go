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

// trouble logs that a signal is not exported: once when it begins, each repeatAfter while it
// lasts, and when it is over.
type trouble struct {
	signal string
	log    *slog.Logger

	mu          sync.Mutex
	since, said time.Time // zero: none
}

// repeatAfter is the shortest time between two lines about the same trouble.
const repeatAfter = 5 * time.Minute

func newTrouble(signal string, log *slog.Logger) *trouble { return &trouble{signal: signal, log: log} }

// note takes the error of one export, nil for none.
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
		t.log.Warn("exporting "+t.signal+"; they are dropped, orders go on", "err", short(err))
	}
}

// short is one line of an error, which may hold the whole answer of a collector.
func short(err error) string {
	const most = 300
	text, _, _ := strings.Cut(err.Error(), "\n")
	return strings.ToValidUTF8(text[:min(len(text), most)], "")
}

// spans is an exporter whose trouble is logged here. Its callers would report it to a global.
type spans struct {
	trace.SpanExporter
	trouble *trouble
}

func (s *spans) ExportSpans(ctx context.Context, batch []trace.ReadOnlySpan) error {
	s.trouble.note(s.SpanExporter.ExportSpans(ctx, batch))
	return nil
}

// records is the same for log records.
type records struct {
	log.Exporter
	trouble *trouble
}

func (r *records) Export(ctx context.Context, batch []log.Record) error {
	r.trouble.note(r.Exporter.Export(ctx, batch))
	return nil
}

// quiet is the logger of the OpenTelemetry libraries: their messages, without the values
// beside them. A header that cannot be parsed is such a value.
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
