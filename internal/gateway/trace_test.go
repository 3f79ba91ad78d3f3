package gateway

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	attr "go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

// A call in a trace has a client span, and the gateway gets the span's context. A call outside a
// trace has no span, and the gateway gets no context.
func TestCallsAreClientSpans(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		traced    bool
		unsampled bool
		status    int
		delay     time.Duration
		errorType string
	}{
		"answered":      {true, false, http.StatusOK, 0, ""},
		"refused":       {true, false, http.StatusBadRequest, 0, "400"},
		"no answer":     {true, false, 0, time.Second, "timeout"},
		"outside of it": {false, false, http.StatusOK, 0, ""},
		"not sampled":   {true, true, http.StatusOK, 0, ""}, // the context says that it is not sampled
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var sent string
			came := make(chan struct{}, 1)
			c := newClient(t, Config{Dialect: DialectCAGW, Timeout: 300 * time.Millisecond}, func(w http.ResponseWriter, r *http.Request) {
				sent = r.Header.Get("traceparent")
				came <- struct{}{}
				select {
				case <-time.After(row.delay):
				case <-r.Context().Done():
				}
				always(max(row.status, 200), `{}`)(w, r)
			})
			recorder := tracetest.NewSpanRecorder()
			ctx, span := context.Context(t.Context()), trace.SpanFromContext(t.Context())
			if row.traced {
				sampler := sdk.AlwaysSample()
				if row.unsampled {
					sampler = sdk.NeverSample()
				}
				ctx, span = sdk.NewTracerProvider(sdk.WithSpanProcessor(recorder), sdk.WithSampler(sampler)).Tracer("test").Start(ctx, "process poll")
			}
			r, err := c.send(ctx, call{op: OpPoll, method: http.MethodGet, path: segments("certificate-authorities", "ca-1", "enrollments", "T-1"), query: map[string][]string{"name": {"secret"}}})
			if err != nil {
				t.Fatal(err)
			}
			<-came
			ended := recorder.Ended()
			if !row.traced {
				if len(ended) != 0 || sent != "" {
					t.Errorf("%d spans, and the gateway got %q", len(ended), sent)
				}
				return
			}
			if row.unsampled {
				if len(ended) != 0 || !strings.HasSuffix(sent, "-00") {
					t.Errorf("%d spans, and the gateway got %q", len(ended), sent)
				}
				return
			}
			if len(ended) != 1 {
				t.Fatalf("%d spans, want 1", len(ended))
			}
			got := ended[0]
			if got.Name() != "GET poll" || got.SpanKind() != trace.SpanKindClient || got.Parent().SpanID() != span.SpanContext().SpanID() {
				t.Errorf("the span is %q of kind %s", got.Name(), got.SpanKind())
			}
			if !strings.Contains(sent, got.SpanContext().SpanID().String()) {
				t.Errorf("the gateway got %q", sent)
			}
			has := map[attr.Key]string{}
			for _, a := range got.Attributes() {
				has[a.Key] = a.Value.String()
				if strings.Contains(a.Value.String(), "secret") {
					t.Errorf("%s holds the query", a.Key)
				}
			}
			if has["http.request.method"] != "GET" || has["url.full"] != c.base+"/certificate-authorities/ca-1/enrollments/T-1" || has["server.address"] != "127.0.0.1" || has["server.port"] == "" {
				t.Errorf("the attributes are %v", has)
			}
			if has["error.type"] != row.errorType || (got.Status().Code == codes.Error) != (row.errorType != "") {
				t.Errorf("error.type is %q and the status %v", has["error.type"], got.Status())
			}
			if _, ok := has["http.response.status_code"]; ok != (r.status != 0) {
				t.Errorf("the status of the answer is %q", has["http.response.status_code"])
			}
		})
	}
}

// Outside a trace a call allocates nothing for tracing.
func TestCallsOutsideOfATraceAllocateNothing(t *testing.T) {
	c, q, ctx := &Client{base: "https://gateway.example/v1"}, call{op: OpPoll, method: http.MethodGet}, context.Background()
	if n := testing.AllocsPerRun(100, func() {
		_, span := c.startSpan(ctx, q, 1)
		endSpan(span, reply{status: 503}, nil)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
