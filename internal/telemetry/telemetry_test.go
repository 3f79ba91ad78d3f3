package telemetry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
	tracespb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	rpc "google.golang.org/grpc"

	"github.com/entrust-worker/entrust-worker/internal/telemetry/telemetrytest"
)

// buffer is a log that can be read while it is written.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func logTo(w io.Writer) *slog.Logger { return slog.New(slog.NewJSONHandler(w, nil)) }

func TestOffIsNothing(t *testing.T) {
	t.Parallel()
	log := logTo(io.Discard)
	tel := Start(t.Context(), func(string) string { return "" }, "v1", log)
	if tel.Tracer() != nil || tel.Log(log, nil) != log {
		t.Error("something is exported that nobody asked for")
	}
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// The requested signals reach a receiver over HTTP, with the process attributes from the
// variables.
func TestExport(t *testing.T) {
	receiver := telemetrytest.Start(t)
	for name, value := range map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.URL, "OTEL_LOGS_EXPORTER": "otlp", "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
	} {
		t.Setenv(name, value)
	}
	var text buffer
	tel := Start(t.Context(), os.Getenv, "v1.2.3", logTo(&text))
	log := tel.Log(logTo(&text), func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == "err" {
			a.Value = slog.StringValue("rewritten")
		}
		return a
	})
	ctx, options := Order(t.Context(), "shop", "o-1", sent, "")
	ctx, span := tel.Tracer().Start(ctx, "process issue", options...)
	log.With("order", "o-1").WarnContext(ctx, "the gateway did not accept the order", "err", errors.New("a password"))
	log.DebugContext(ctx, "below the level of the log")
	log.Info("outside of every trace")
	span.End()
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	spans := receiver.Spans()
	if len(spans) != 1 || spans[0].TraceID != sentID || spans[0].Parent != "b7ad6b7169203331" || spans[0].Name != "process issue" {
		t.Fatalf("spans: %+v", spans)
	}
	for name, want := range map[string]string{"service.name": "entrust-worker", "service.version": "v1.2.3", "deployment.environment.name": "test"} {
		if got := spans[0].Resource[name]; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	records := receiver.Records()
	if len(records) != 2 {
		t.Fatalf("log records: %+v", records)
	}
	if r := records[0]; r.TraceID != sentID || r.Attributes["order"] != "o-1" || r.Attributes["err"] != "rewritten" {
		t.Errorf("the record is %+v", r)
	}
	if strings.Contains(receiver.Raw(), "a password") {
		t.Error("a secret was exported")
	}
	if got := text.String(); strings.Count(got, `"trace_id":"`+sentID+`"`) != 1 || strings.Contains(got, "below the level") {
		t.Errorf("the log is:\n%s", got)
	}
}

func TestExportOverGRPC(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, came := rpc.NewServer(), make(chan *tracespb.ExportTraceServiceRequest, 1)
	tracespb.RegisterTraceServiceServer(server, collector{came: came})
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+l.Addr().String())
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	tel := Start(t.Context(), os.Getenv, "v1", logTo(io.Discard))
	_, span := tel.Tracer().Start(t.Context(), "process issue")
	span.End()
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := (<-came).ResourceSpans[0].ScopeSpans[0].Spans[0].Name; got != "process issue" {
		t.Errorf("the span is %q", got)
	}
}

type collector struct {
	tracespb.UnimplementedTraceServiceServer
	came chan *tracespb.ExportTraceServiceRequest
}

func (s collector) Export(_ context.Context, q *tracespb.ExportTraceServiceRequest) (*tracespb.ExportTraceServiceResponse, error) {
	s.came <- q
	return new(tracespb.ExportTraceServiceResponse), nil
}

// A variable that cannot be parsed is reported without its value, which may be a
// credential.
func TestVariablesAreNotLogged(t *testing.T) {
	receiver := telemetrytest.Start(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "a-secret-without-a-name")
	var text buffer
	tel := Start(t.Context(), os.Getenv, "v1", logTo(&text))
	if tel.Tracer() == nil {
		t.Error("a header that cannot be read ends the traces")
	}
	_ = tel.Shutdown(t.Context())
	if got := text.String(); !strings.Contains(got, "parse headers") || strings.Contains(got, "secret") {
		t.Errorf("the log is:\n%s", got)
	}
}

// A collector that refuses everything is reported once. The program continues, and its
// last spans are dropped.
func TestRefusingCollector(t *testing.T) {
	receiver := telemetrytest.Start(t)
	receiver.Fail(http.StatusForbidden)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.URL)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "1")
	var text buffer
	tel := Start(t.Context(), os.Getenv, "v1", logTo(&text))
	for range 100 {
		_, span := tel.Tracer().Start(t.Context(), "process issue")
		span.End()
	}
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if got := text.String(); strings.Count(got, "exporting traces; they are dropped") != 1 {
		t.Errorf("the log is:\n%s", got)
	}
}

// hanging is an exporter whose collector never answers.
type hanging struct{ trace.SpanExporter }

func (hanging) ExportSpans(ctx context.Context, _ []trace.ReadOnlySpan) error {
	<-ctx.Done()
	return ctx.Err()
}
func (hanging) Shutdown(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

// A collector that does not answer delays no order, and delays a stop at most for its
// drain time.
func TestHangingCollector(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct{ drain, used, want time.Duration }{
		"most is left":       {25 * time.Second, 2 * time.Second, maxFlush},
		"little is left":     {25 * time.Second, 22 * time.Second, 3 * time.Second},
		"nothing is left":    {25 * time.Second, 25 * time.Second, minFlush},
		"not asked to stop":  {25 * time.Second, -1, maxFlush},
		"a short drain time": {2 * time.Second, 0, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tel := new(Telemetry)
				tel.trace(hanging{}, resource.Empty(), slog.New(slog.DiscardHandler))
				ctx, cancel := context.WithCancel(t.Context())
				stop := tel.StopWithin(ctx, row.drain, slog.New(slog.DiscardHandler))
				begun := time.Now()
				for range 10_000 { // more than the queue holds
					_, span := tel.Tracer().Start(ctx, "process issue")
					span.End()
				}
				if took := time.Since(begun); took != 0 {
					t.Errorf("the spans waited for %s", took)
				}
				if row.used >= 0 {
					cancel()
					synctest.Wait()
					time.Sleep(row.used)
				}
				begun = time.Now()
				stop()
				if took := time.Since(begun); took != row.want {
					t.Errorf("the stop took %s, want %s", took, row.want)
				}
				cancel()
				time.Sleep(time.Hour) // running exports end by their own limit
			})
		})
	}
}

func TestTroubleIsLoggedSeldom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var text buffer
		tr := newTrouble("traces", logTo(&text))
		tr.note(nil)
		for range 12 { // a minute each
			tr.note(fmt.Errorf("no route\nto the host"))
			time.Sleep(time.Minute)
		}
		tr.note(nil)
		tr.note(nil)
		got := text.String()
		if n := strings.Count(got, `"err":"no route"`); n != 3 {
			t.Errorf("%d lines of a trouble of 12 minutes, want 3:\n%s", n, got)
		}
		if strings.Count(got, "exporting traces again") != 1 || !strings.Contains(got, `"outage":720000000000`) {
			t.Errorf("its end is not logged once:\n%s", got)
		}
	})
}
