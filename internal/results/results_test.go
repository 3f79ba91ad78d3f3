package results_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/results"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

var key = order.Key{Producer: "shop", ID: "one"}

// lossy stores each published message and loses its acknowledgement while lose is set.
type lossy struct {
	jetstream.JetStream
	lose bool
}

func (l *lossy) PublishMsg(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	ack, err := l.JetStream.PublishMsg(ctx, m, opts...)
	if l.lose && err == nil {
		return nil, nats.ErrTimeout
	}
	return ack, err
}

// rig is the stream of results on a real server.
type rig struct {
	t      *testing.T
	js     *lossy
	layout streams.Layout
	store  *results.Store
}

func setup(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, js: &lossy{JetStream: testbed.Start(t).JetStream(t)}, layout: streams.DefaultLayout()}
	if _, err := streams.Provision(t.Context(), r.js, r.layout); err != nil {
		t.Fatal(err)
	}
	r.store = results.New(r.js, r.layout.Results, r.layout.Subjects())
	return r
}

// conclusion is the end of a generation of the order, identified by its tracking id.
func conclusion(generation int, word string) *order.Conclusion {
	return &order.Conclusion{
		Encoding: entrustbus.EncodingJSON,
		Result: &entrustbus.Result{
			Version: entrustbus.Version, ID: key.ID, Producer: key.Producer, Kind: entrustbus.KindIssue, Outcome: entrustbus.OutcomeIssued,
			TrackingID: word, Replay: generation,
			RequestedAt: time.Date(2026, 11, 28, 1, 2, 3, 0, time.UTC), FinishedAt: time.Date(2026, 11, 28, 1, 2, 4, 0, time.UTC),
		},
	}
}

func (r *rig) prepare(c *order.Conclusion) *results.Publication {
	r.t.Helper()
	p, err := r.store.Publish(key, c)
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

// publish tries until there is a result, as the caller does, and returns its tracking id.
func (r *rig) publish(p *results.Publication) string {
	r.t.Helper()
	var err error
	for range 3 {
		var stands *entrustbus.Result
		if stands, err = p.Try(r.t.Context()); err == nil {
			return stands.TrackingID
		}
	}
	r.t.Fatalf("no result stands: %v", err)
	return ""
}

// wantLast checks the newest result and how many there are.
func (r *rig) wantLast(word string, n uint64) {
	r.t.Helper()
	last, sequence, err := r.store.Last(r.t.Context(), key)
	if err != nil || last == nil || last.TrackingID != word || sequence == 0 {
		r.t.Errorf("the newest result is %+v (%v), want %s", last, err, word)
	}
	st, err := r.js.Stream(r.t.Context(), r.layout.Results)
	if err != nil {
		r.t.Fatal(err)
	}
	if got := st.CachedInfo().State.Msgs; got != n {
		r.t.Errorf("the stream holds %d results, want %d", got, n)
	}
}

// One generation gets one result, by compare-and-set, also after the server's duplicate window.
func TestOneResultForEachGeneration(t *testing.T) {
	t.Parallel()
	for name, window := range map[string]time.Duration{"by compare-and-set alone": 100 * time.Millisecond, "in the duplicate window": time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := setup(t)
			st, err := r.js.Stream(t.Context(), r.layout.Results)
			if err != nil {
				t.Fatal(err)
			}
			cfg := st.CachedInfo().Config
			cfg.Duplicates = window
			if _, err := r.js.UpdateStream(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			if last, sequence, err := r.store.Last(t.Context(), key); last != nil || sequence != 0 || err != nil {
				t.Errorf("before the first: %+v at %d, %v", last, sequence, err)
			}
			want := uint64(0)
			for generation := range 3 {
				// Two workers concluded the same generation, each before the other published.
				first, second := r.prepare(conclusion(generation, "first")), r.prepare(conclusion(generation, "second"))
				if got := r.publish(first); got != "first" {
					t.Errorf("generation %d: %s stands, want first", generation, got)
				}
				time.Sleep(min(window, 200*time.Millisecond)) // the shorter window has ended
				if got := r.publish(second); got != "first" {
					t.Errorf("generation %d: %s stands for the second worker, want first", generation, got)
				}
				want++
				r.wantLast("first", want)
			}
		})
	}
}

// A publication whose acknowledgement was lost finds its own result, and publishes no second
// one.
func TestLostAcknowledgement(t *testing.T) {
	t.Parallel()
	r := setup(t)
	for generation := range 2 {
		p := r.prepare(conclusion(generation, "mine"))
		r.js.lose = true
		if _, err := p.Try(t.Context()); !errors.Is(err, nats.ErrTimeout) {
			t.Fatalf("a lost acknowledgement: %v", err)
		}
		r.js.lose = false
		if got := r.publish(p); got != "mine" {
			t.Errorf("%s stands, want mine", got)
		}
		// A worker that took the order over concludes it with other content.
		if got := r.publish(r.prepare(conclusion(generation, "another"))); got != "mine" {
			t.Errorf("%s stands for the other worker, want mine", got)
		}
		r.wantLast("mine", uint64(generation)+1)
	}
}

// After the result of a later generation, a late result of an earlier one is not published.
func TestLaterGenerationStands(t *testing.T) {
	t.Parallel()
	r := setup(t)
	late := r.prepare(conclusion(0, "late"))
	if got := r.publish(r.prepare(conclusion(2, "later"))); got != "later" {
		t.Errorf("%s stands", got)
	}
	for _, p := range []*results.Publication{late, r.prepare(conclusion(1, "between"))} {
		if got := r.publish(p); got != "later" {
			t.Errorf("%s stands, want later", got)
		}
	}
	r.wantLast("later", 1)
	if got := r.publish(r.prepare(conclusion(3, "next"))); got != "next" {
		t.Errorf("%s stands, want next", got)
	}
	r.wantLast("next", 2)
}

// A result has the encoding of its request, the headers of the contract, and the trace of the
// request. A trace header that no message can hold with the others is left out: the result
// matters more.
func TestHeaders(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		encoding      entrustbus.Encoding
		parent, state string
		trace         nats.Header
	}{
		"msgpack, traced":       {entrustbus.EncodingMsgpack, "00-1-2-3", "a=b", nats.Header{"traceparent": {"00-1-2-3"}, "tracestate": {"a=b"}}},
		"JSON, no trace":        {entrustbus.EncodingJSON, "", "", nats.Header{}},
		"no state":              {entrustbus.EncodingJSON, "00-1-2-3", "", nats.Header{"traceparent": {"00-1-2-3"}}},
		"state of 60 KiB":       {entrustbus.EncodingJSON, "00-1-2-3", strings.Repeat("x", 60<<10), nats.Header{"traceparent": {"00-1-2-3"}}},
		"both fill a message":   {entrustbus.EncodingJSON, strings.Repeat("x", 32<<10), strings.Repeat("x", 32<<10), nats.Header{}},
		"state that W3C allows": {entrustbus.EncodingJSON, "00-1-2-3", strings.Repeat("x", 512), nats.Header{"traceparent": {"00-1-2-3"}, "tracestate": {strings.Repeat("x", 512)}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := setup(t)
			c := conclusion(1, "T-1")
			c.Encoding, c.TraceParent, c.TraceState = row.encoding, row.parent, row.state
			r.publish(r.prepare(c))
			m, err := streams.Last(t.Context(), r.js, r.layout.Results, "entrust.result.shop.one")
			if err != nil {
				t.Fatal(err)
			}
			want := nats.Header{
				"Nats-Msg-Id": {"shop.one.1"}, "Content-Type": {row.encoding.ContentType()}, "Entrust-Order-Id": {"one"},
				"Entrust-Kind": {"issue"}, "Entrust-Replay": {"1"},
				"Nats-Expected-Last-Subject-Sequence": {"0"}, "Nats-Expected-Stream": {r.layout.Results},
			}
			for name, values := range row.trace {
				want[name] = values
			}
			if !reflect.DeepEqual(m.Header, want) {
				t.Errorf("headers are %v, want %v", m.Header, want)
			}
			got, err := entrustbus.DecodeResult(row.encoding, m.Data)
			if err != nil || !reflect.DeepEqual(got, c.Result) {
				t.Errorf("the result is %+v (%v), want %+v", got, err, c.Result)
			}
			if last, _, err := r.store.Last(t.Context(), key); err != nil || !reflect.DeepEqual(last, c.Result) {
				t.Errorf("read back: %+v (%v)", last, err)
			}
		})
	}
}

// A message that no worker published is no result. The result is published over it, so that no
// order waits for ever.
func TestNotAResult(t *testing.T) {
	t.Parallel()
	r := setup(t)
	for range 2 {
		if _, err := r.js.Publish(t.Context(), "entrust.result.shop.one", []byte("?")); err != nil {
			t.Fatal(err)
		}
	}
	if last, sequence, err := r.store.Last(t.Context(), key); err != nil || last != nil || sequence != 2 {
		t.Errorf("read as %+v, at %d (%v)", last, sequence, err)
	}
	p := r.prepare(conclusion(0, "T-1"))
	stands, err := p.Try(t.Context())
	for range 2 { // the first try expects an empty subject
		if err != nil {
			stands, err = p.Try(t.Context())
		}
	}
	if err != nil || stands.TrackingID != "T-1" {
		t.Errorf("published: %+v, %v", stands, err)
	}
}

// A worker's result that this worker cannot read counts as unconfirmed, with an error text. A
// second result of its generation would differ, and a repetition would change nothing.
func TestUnreadableResultStands(t *testing.T) {
	t.Parallel()
	r := setup(t)
	msg := nats.NewMsg("entrust.result.shop.one")
	msg.Data = []byte("a version to come")
	msg.Header.Set(nats.MsgIdHdr, entrustbus.ResultMsgID("shop", "one", 1))
	msg.Header.Set(entrustbus.HeaderReplay, "1")
	msg.Header.Set(entrustbus.HeaderKind, "issue")
	if _, err := r.js.PublishMsg(t.Context(), msg); err != nil {
		t.Fatal(err)
	}
	last, sequence, err := r.store.Last(t.Context(), key)
	if err != nil || sequence != 1 || last == nil || last.Replay != 1 || last.Outcome != entrustbus.OutcomeUnconfirmed || last.Kind != entrustbus.KindIssue ||
		last.Error == nil || last.Error.Code != results.CodeUnreadable || !strings.Contains(last.Error.Message, "cannot read the published result") {
		t.Fatalf("read as %+v, at %d (%v)", last, sequence, err)
	}
	if stands, err := r.prepare(conclusion(1, "T-1")).Try(t.Context()); err != nil || stands.Error == nil || stands.Error.Code != results.CodeUnreadable {
		t.Errorf("over it stands %+v, %v", stands, err)
	}
	if stands, err := r.prepare(conclusion(2, "T-2")).Try(t.Context()); err != nil || stands.TrackingID != "T-2" {
		t.Errorf("the next generation: %+v, %v", stands, err)
	}
}
