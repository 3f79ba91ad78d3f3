package consumer_test

import (
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/telemetry"
	"github.com/entrust-worker/entrust-worker/internal/telemetry/telemetrytest"
)

const (
	traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	traceSent   = "0af7651916cd43dd8448eb211c80319c"
)

// traced gives the rig's workers traces, exported over HTTP.
func (r *rig) traced() (*telemetrytest.Receiver, *telemetry.Telemetry) {
	r.t.Helper()
	receiver := telemetrytest.Start(r.t)
	r.t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.URL)
	tel := telemetry.Start(r.t.Context(), os.Getenv, "test", slog.New(slog.NewTextHandler(io.Discard, nil)))
	r.cfg.Tracer = tel.Tracer()
	return receiver, tel
}

// events are the names of a trace's events, sorted and each once.
func events(spans []telemetrytest.Span) []string {
	var all []string
	for _, s := range spans {
		for _, e := range s.Events {
			all = append(all, e.Name)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// An order has one trace, from its request over approval, polls, a cancellation and a replay to
// its result. It is its producer's trace, or one derived from the order's key.
func TestOneTraceForEachOrder(t *testing.T) {
	r := setup(t, gatewaytest.Config{Dialect: gatewaytest.CAGW, PendingFraction: 1, ApproveAfter: 500 * time.Millisecond, Faults: []gatewaytest.Fault{
		{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultReject, CNPrefix: "no-such"},
	}})
	receiver, tel := r.traced()
	stop := r.run()
	request := csr(t, "secret-host")
	// OpenTelemetry's carrier begins the name with a capital.
	r.send(&entrustbus.Issue{ID: "traced", CSRPEM: request}, "Traceparent", traceparent, "TraceState", "a=b")
	r.send(&entrustbus.Issue{ID: "plain", CSRPEM: csr(t, "secret-other")})
	refused := &entrustbus.Issue{ID: "refused", CSRPEM: csr(t, "no-such-secret")}
	r.send(refused, "Traceparent", traceparent)
	r.result("traced")
	r.result("plain")
	r.result("refused")
	r.closed("refused")
	// A replay has the headers of the dead letter.
	r.send(refused, "Traceparent", traceparent, entrustbus.HeaderReplay, "1")
	r.result("refused", 1)
	letters := r.wantLetters(order.Rejected, order.Rejected)
	r.quiet()
	stop()
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}

	of := func(id string) (spans []telemetrytest.Span) {
		all := receiver.Spans()
		trace := ""
		for _, s := range all {
			if s.Attributes["entrust.order.id"] == id {
				trace = s.TraceID
			}
		}
		mine := map[string]bool{}
		for _, s := range all {
			if s.Attributes["entrust.order.id"] == id {
				mine[s.ID] = true
				if s.TraceID != trace {
					t.Errorf("%s is in the traces %s and %s", id, trace, s.TraceID)
				}
			}
		}
		for _, s := range all {
			if mine[s.ID] || mine[s.Parent] {
				spans = append(spans, s)
			}
		}
		return spans
	}
	names := func(spans []telemetrytest.Span) (all []string) {
		for _, s := range spans {
			if s.Name != "GET probe" { // the CA's chain, which one of the orders reads
				all = append(all, s.Name)
			}
		}
		slices.Sort(all)
		return slices.Compact(all)
	}
	for id, want := range map[string]struct{ trace, parent, spans, events string }{
		"traced":  {traceSent, "b7ad6b7169203331", "GET poll, POST enroll, process issue, process poll", "parked, polled, result"},
		"plain":   {telemetry.TraceID(producer, "plain").String(), "", "GET poll, POST enroll, process issue, process poll", "parked, polled, result"},
		"refused": {traceSent, "b7ad6b7169203331", "POST enroll, process issue", "dead letter, refused, result"},
	} {
		spans := of(id)
		if got := strings.Join(names(spans), ", "); got != want.spans {
			t.Errorf("%s has the spans %s, want %s", id, got, want.spans)
		}
		if got := strings.Join(events(spans), ", "); got != want.events {
			t.Errorf("%s has the events %s, want %s", id, got, want.events)
		}
		for _, s := range spans {
			if s.TraceID != want.trace || s.Client && s.Attributes["http.response.status_code"] == "" || !s.Client && s.Parent != want.parent {
				t.Errorf("%s: %s is in the trace %s below %q: %v", id, s.Name, s.TraceID, s.Parent, s.Attributes)
			}
		}
	}
	if n := len(slices.DeleteFunc(of("refused"), func(s telemetrytest.Span) bool { return s.Name != "POST enroll" })); n != 2 {
		t.Errorf("%d enrollments of an order and its replay are in its trace", n)
	}
	for _, secret := range []string{"secret", strings.Split(request, "\n")[1], "BEGIN"} {
		if strings.Contains(receiver.Raw(), secret) {
			t.Errorf("a trace holds %q", secret)
		}
	}
	m, err := streams.Last(t.Context(), r.js, r.layout.Results, r.layout.Subjects().Result(producer, "traced"))
	if err != nil {
		t.Fatal(err)
	}
	if parent, state := m.Header.Get("traceparent"), m.Header.Get("tracestate"); parent != traceparent || state != "a=b" {
		t.Errorf("the result carries %q and %q", parent, state)
	}
	if parent, _ := letters[0].Request.Trace(); parent != traceparent {
		t.Errorf("the letter carries %q", parent)
	}
}

// The target of a cancellation keeps its own trace, with a link to the trace of the
// cancellation.
func TestTraceOfACancellation(t *testing.T) {
	r := setup(t, gatewaytest.Config{Dialect: gatewaytest.CAGW, PendingFraction: 1})
	r.patience()
	receiver, tel := r.traced()
	stop := r.run()
	r.send(&entrustbus.Issue{ID: "o", CSRPEM: csr(t, "o")})
	r.eventually("the order awaiting", func() bool { return r.record("o").Phase == order.Awaiting && r.count(r.layout.Requests) == 0 })
	r.send(&entrustbus.Cancel{ID: "c", Order: "o"}, "TRACEPARENT", traceparent)
	r.result("c")
	r.quiet()
	stop()
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, s := range receiver.Spans() {
		if s.Name == "cancel" {
			found = true
			if s.TraceID != telemetry.TraceID(producer, "o").String() || !slices.Equal(s.Links, []string{traceSent}) {
				t.Errorf("the target ends in the trace %s, linked to %v", s.TraceID, s.Links)
			}
		}
	}
	if !found {
		t.Error("the target has no span of its end")
	}
}

// A receiver that accepts nothing does not stop an order from ending.
func TestTracesOfNoUse(t *testing.T) {
	r := setup(t, gatewaytest.Config{})
	receiver, tel := r.traced()
	receiver.Fail(503)
	r.run()
	r.send(&entrustbus.Issue{ID: "o", CSRPEM: csr(t, "o")})
	if res := r.result("o"); res.Outcome != entrustbus.OutcomeIssued {
		t.Errorf("the order ended as %s", res.Outcome)
	}
	tel.StopWithin(t.Context(), time.Second, slog.New(slog.DiscardHandler))()
}
