package statuspage

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// Recent counts the newest results, each once, in any encoding. It reads a stream that
// was made again from its beginning.
func TestRecent(t *testing.T) {
	t.Parallel()
	server := testbed.Start(t, "")
	js, layout := server.JetStream(t), streams.DefaultLayout()
	if _, err := streams.Provision(t.Context(), js, layout); err != nil {
		t.Fatal(err)
	}
	publish := func(producer, id string, outcome entrustbus.Outcome, enc entrustbus.Encoding) {
		t.Helper()
		body, err := entrustbus.EncodeResult(enc, &entrustbus.Result{ID: id, Producer: producer, Kind: entrustbus.KindIssue, Outcome: outcome, FinishedAt: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: layout.Subjects().Result(producer, id), Header: nats.Header{entrustbus.HeaderContentType: {enc.ContentType()}}, Data: body}); err != nil {
			t.Fatal(err)
		}
	}
	recent := NewRecent(js, layout.Results, layout.Subjects())
	want := func(results int, list ...Producer) {
		t.Helper()
		got, err := recent.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got.Results != results || len(got.List) != len(list) || results > 0 && got.Since.IsZero() {
			t.Fatalf("got %+v, want %d results of %v", got, results, list)
		}
		for i, p := range got.List {
			if p.Last.IsZero() || p.Name != list[i].Name || p.Results != list[i].Results || p.Failed != list[i].Failed {
				t.Errorf("row %d is %+v, want %+v", i, p, list[i])
			}
		}
	}
	want(0)
	publish("shop", "a", entrustbus.OutcomeIssued, entrustbus.EncodingMsgpack)
	publish("shop", "b", entrustbus.OutcomeRejected, entrustbus.EncodingJSON)
	publish("mail", "a", entrustbus.OutcomeIssued, entrustbus.EncodingJSON)
	want(3, Producer{Name: "shop", Results: 2, Failed: 1}, Producer{Name: "mail", Results: 1})
	// A result that cannot be read counts as failed.
	if _, err := js.Publish(t.Context(), layout.Subjects().Result("mail", "b"), []byte("what is this")); err != nil {
		t.Fatal(err)
	}
	publish("mail", "c", entrustbus.OutcomeUnconfirmed, entrustbus.EncodingMsgpack)
	want(5, Producer{Name: "mail", Results: 3, Failed: 2}, Producer{Name: "shop", Results: 2, Failed: 1})
	if err := js.DeleteStream(t.Context(), layout.Results); err != nil {
		t.Fatal(err)
	}
	if _, err := recent.Read(t.Context()); err == nil {
		t.Error("no error without a stream")
	}
	if _, err := streams.Provision(t.Context(), js, layout); err != nil {
		t.Fatal(err)
	}
	publish("lab", "a", entrustbus.OutcomeIssued, entrustbus.EncodingMsgpack)
	want(1, Producer{Name: "lab", Results: 1})
}
