package telemetry

import (
	"context"
	"log/slog"
	"testing"

	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

const (
	sent   = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	sentID = "0af7651916cd43dd8448eb211c80319c"
)

// inMemory returns a telemetry that keeps its spans.
func inMemory(t *testing.T) (*Telemetry, *tracetest.InMemoryExporter) {
	t.Helper()
	kept := tracetest.NewInMemoryExporter()
	tel := new(Telemetry)
	tel.trace(keeping{kept}, resource.Empty(), slog.New(slog.DiscardHandler))
	return tel, kept
}

// keeping is an exporter that keeps its spans after its shutdown.
type keeping struct{ *tracetest.InMemoryExporter }

func (keeping) Shutdown(context.Context) error { return nil }

func TestOrderHasOneTrace(t *testing.T) {
	t.Parallel()
	derived := TraceID("shop", "o-1").String()
	for name, row := range map[string]struct {
		id, parent, state string
		trace             string // "": a new one each time
		below             string // id of the parent span
	}{
		"a producer's context":      {"o-1", sent, "a=b", sentID, "b7ad6b7169203331"},
		"none":                      {"o-1", "", "", derived, ""},
		"no traceparent":            {"o-1", "00-1-2-3", "", derived, ""},
		"a version of another kind": {"o-1", "ff" + sent[2:], "", derived, ""},
		"no id":                     {"", "", "", "", ""},
		"no id, but a context":      {"", sent, "", sentID, "b7ad6b7169203331"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seen := map[string]bool{}
			for range 2 { // two workers
				tel, kept := inMemory(t)
				ctx, options := Order(t.Context(), "shop", row.id, row.parent, row.state)
				ctx, span := tel.Tracer().Start(ctx, "process", options...)
				_, below := tel.Tracer().Start(ctx, "call")
				below.End()
				span.End()
				if err := tel.Shutdown(t.Context()); err != nil {
					t.Fatal(err)
				}
				spans := kept.GetSpans()
				if len(spans) != 2 {
					t.Fatalf("%d spans, want 2", len(spans))
				}
				call, process := spans[0], spans[1]
				id := process.SpanContext.TraceID().String()
				seen[id] = true
				if call.SpanContext.TraceID().String() != id || call.Parent.SpanID() != process.SpanContext.SpanID() {
					t.Errorf("the call is not below the handling: %v", call.Parent)
				}
				if row.trace != "" && id != row.trace {
					t.Errorf("the trace is %s, want %s", id, row.trace)
				}
				if parent := process.Parent.SpanID(); parent.IsValid() != (row.below != "") || row.below != "" && parent.String() != row.below {
					t.Errorf("the parent is %s, want %q", parent, row.below)
				}
				if got := process.SpanContext.TraceState().String(); got != row.state {
					t.Errorf("the state is %q, want %q", got, row.state)
				}
			}
			if want := map[bool]int{true: 2, false: 1}[row.trace == ""]; len(seen) != want {
				t.Errorf("%d traces of one order, want %d", len(seen), want)
			}
		})
	}
}

// If a handling acts on another order, that order's span is in its own trace.
func TestOrderLeavesTheTraceOfItsCaller(t *testing.T) {
	t.Parallel()
	tel, _ := inMemory(t)
	ctx, options := Order(t.Context(), "shop", "cancels", sent, "")
	ctx, outer := tel.Tracer().Start(ctx, "process", options...)
	defer outer.End()
	ctx, options = Order(ctx, "shop", "target", "", "")
	_, inner := tel.Tracer().Start(ctx, "cancel", options...)
	defer inner.End()
	if got := inner.SpanContext().TraceID(); got != TraceID("shop", "target") || got == outer.SpanContext().TraceID() {
		t.Errorf("the target has the trace %s", got)
	}
}

// With a sampling ratio, an order is sampled in every worker or in none.
func TestSamplingFollowsTheOrder(t *testing.T) {
	t.Parallel()
	sampled := func(id string) bool {
		p := trace.NewTracerProvider(trace.WithIDGenerator(ids{}), trace.WithSampler(trace.ParentBased(trace.TraceIDRatioBased(0.5))))
		ctx, options := Order(t.Context(), "shop", id, "", "")
		_, span := p.Tracer(scope).Start(ctx, "process", options...)
		return span.SpanContext().IsSampled()
	}
	yes := 0
	for _, id := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"} {
		first := sampled(id)
		if first != sampled(id) {
			t.Errorf("order %s is sampled once of twice", id)
		}
		if first {
			yes++
		}
	}
	if yes == 0 || yes == 12 {
		t.Errorf("%d of 12 orders are sampled", yes)
	}
}
