package ledger_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

const bucket = "ORDERS"

var key = order.Key{Producer: "shop", ID: "one"}

// lossy stores each published message and loses its acknowledgement while lose is set. A leader
// does that when it dies or is elected at the wrong moment.
type lossy struct {
	jetstream.JetStream
	lose bool
	drop bool // loses the message too
}

func (l *lossy) PublishMsg(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	if l.drop {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	ack, err := l.JetStream.PublishMsg(context.WithoutCancel(ctx), m, opts...)
	if l.lose {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return ack, err
}

func setup(t *testing.T) (*ledger.Ledger, *lossy) {
	t.Helper()
	js := &lossy{JetStream: testbed.Start(t).JetStream(t)}
	makeBucket(t, js)
	return ledger.New(js, bucket), js
}

func makeBucket(t *testing.T, js jetstream.JetStream) jetstream.KeyValue {
	t.Helper()
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: bucket})
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

// record is a record of a phase, with a text that distinguishes it.
func record(phase order.Phase, word string) order.Record {
	return order.Record{
		Phase: phase, Kind: entrustbus.KindIssue, Digest: []byte("digest"), Owner: word, TrackingID: word,
		RequestedAt: time.Date(2026, 11, 28, 1, 2, 3, 4, time.UTC),
	}
}

// write writes next over cur, which must succeed.
func write(t *testing.T, l *ledger.Ledger, key order.Key, cur order.Stored, next order.Record) order.Stored {
	t.Helper()
	s, err := l.Write(key, cur, next, nil).Try(t.Context())
	if err != nil {
		t.Fatalf("writing %s: %v", key, err)
	}
	return s
}

// wantStored checks that the ledger holds what a write returned.
func wantStored(t *testing.T, l *ledger.Ledger, key order.Key, want order.Stored) {
	t.Helper()
	got, err := l.Get(t.Context(), key)
	if err != nil || got.Phase != want.Phase || got.Owner != want.Owner || got.Revision != want.Revision {
		t.Errorf("the ledger holds %s %q at %d (%v), want %s %q at %d", got.Phase, got.Owner, got.Revision, err, want.Phase, want.Owner, want.Revision)
	}
}

// newer is the record in the format of a later worker.
func newer(t *testing.T, r order.Record) []byte {
	t.Helper()
	data, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]any{}
	if err := msgpack.Unmarshal(data, &keys); err != nil {
		t.Fatal(err)
	}
	keys["format"], keys["later"] = order.Format+1, []string{"unknown"}
	if data, err = msgpack.Marshal(keys); err != nil {
		t.Fatal(err)
	}
	return data
}
