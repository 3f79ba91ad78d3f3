// Package telemetrytest receives OTLP over HTTP in tests.
package telemetrytest

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	logspb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	tracespb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	spanpb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Span is one received span. Ids are hexadecimal; Parent is "" for a root. Values are
// text.
type Span struct {
	Name, TraceID, ID, Parent string
	Client                    bool
	Failed                    bool
	Attributes, Resource      map[string]string
	Events                    []Event
	// Links are the trace ids of the linked spans.
	Links []string
}

// Event is an event of a span.
type Event struct {
	Name       string
	Attributes map[string]string
}

// Record is one received log record.
type Record struct {
	Body, TraceID string
	Attributes    map[string]string
}

// Receiver is an OTLP receiver over HTTP with protobuf. It is safe for concurrent use.
type Receiver struct {
	URL string

	mu      sync.Mutex
	status  int
	spans   []Span
	records []Record
	bytes   strings.Builder
}

// Start starts a receiver that ends with the test.
func Start(t testing.TB) *Receiver {
	r := new(Receiver)
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	r.URL = server.URL
	return r
}

// Fail makes the receiver answer with a status and store nothing; 0 ends this.
func (r *Receiver) Fail(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

// Spans returns the spans received so far.
func (r *Receiver) Spans() []Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Span(nil), r.spans...)
}

// Records returns the log records received so far.
func (r *Receiver) Records() []Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Record(nil), r.records...)
}

// Raw returns all received bytes, to search for data that they must not contain.
func (r *Receiver) Raw() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bytes.String()
}

// ServeHTTP receives one export.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.status != 0:
		w.WriteHeader(r.status)
		return
	case err == nil && q.URL.Path == "/v1/traces":
		err = r.takeSpans(body)
	case err == nil && q.URL.Path == "/v1/logs":
		err = r.takeRecords(body)
	default:
		http.NotFound(w, q)
		return
	}
	r.bytes.Write(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

func (r *Receiver) takeSpans(body []byte) error {
	var in tracespb.ExportTraceServiceRequest
	if err := proto.Unmarshal(body, &in); err != nil {
		return err
	}
	for _, res := range in.ResourceSpans {
		for _, scope := range res.ScopeSpans {
			for _, s := range scope.Spans {
				out := Span{
					Name: s.Name, TraceID: hex.EncodeToString(s.TraceId), ID: hex.EncodeToString(s.SpanId), Parent: hex.EncodeToString(s.ParentSpanId),
					Client: s.Kind == spanpb.Span_SPAN_KIND_CLIENT, Failed: s.Status.GetCode() == spanpb.Status_STATUS_CODE_ERROR,
					Attributes: values(s.Attributes), Resource: values(res.Resource.Attributes),
				}
				for _, e := range s.Events {
					out.Events = append(out.Events, Event{e.Name, values(e.Attributes)})
				}
				for _, l := range s.Links {
					out.Links = append(out.Links, hex.EncodeToString(l.TraceId))
				}
				r.spans = append(r.spans, out)
			}
		}
	}
	return nil
}

func (r *Receiver) takeRecords(body []byte) error {
	var in logspb.ExportLogsServiceRequest
	if err := proto.Unmarshal(body, &in); err != nil {
		return err
	}
	for _, res := range in.ResourceLogs {
		for _, scope := range res.ScopeLogs {
			for _, l := range scope.LogRecords {
				r.records = append(r.records, Record{l.Body.GetStringValue(), hex.EncodeToString(l.TraceId), values(l.Attributes)})
			}
		}
	}
	return nil
}

func values(attrs []*commonpb.KeyValue) map[string]string {
	all := map[string]string{}
	for _, a := range attrs {
		text := a.Value.GetStringValue()
		if _, ok := a.Value.Value.(*commonpb.AnyValue_StringValue); !ok {
			text = a.Value.String()
		}
		all[a.Key] = text
	}
	return all
}
