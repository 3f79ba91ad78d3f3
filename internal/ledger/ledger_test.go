package ledger_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// lossy stores what is published and loses the acknowledgements while lose is set,
// as a leader does that dies, or is elected, at the wrong moment.
type lossy struct {
	jetstream.JetStream
	lose bool
}

func (l *lossy) PublishMsg(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
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
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "ORDERS"}); err != nil {
		t.Fatal(err)
	}
	return ledger.New(js, "ORDERS"), js
}

var key = ledger.Key{Producer: "shop", ID: "one"}

// try makes one write whose acknowledgements are all lost.
func (l *lossy) try(t *testing.T, write func(context.Context) error) {
	t.Helper()
	l.lose = true
	defer func() { l.lose = false }()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := write(ctx); err == nil || errors.Is(err, ledger.ErrConflict) {
		t.Fatalf("a write without acknowledgement ended as %v", err)
	}
}

// A write that is repeated by its caller, after all its acknowledgements were
// lost, knows the record that it wrote: taken for another's, the order would be
// one of unknown fate although nobody called the gateway for it.
func TestRepeatedWriteKnowsItself(t *testing.T) {
	t.Parallel()
	l, js := setup(t)
	rec := &ledger.Record{State: ledger.Open}
	js.try(t, func(ctx context.Context) error { return l.Create(ctx, key, rec) })
	if err := l.Create(t.Context(), key, rec); err != nil {
		t.Fatalf("creating again: %v", err)
	}
	// What is written next may say something else.
	rec.State = ledger.Parked
	js.try(t, func(ctx context.Context) error { return l.Update(ctx, rec) })
	rec.State = ledger.Closed
	if err := l.Update(t.Context(), rec); err != nil {
		t.Fatalf("updating again: %v", err)
	}
	got, err := l.Get(t.Context(), key)
	if err != nil || got.State != ledger.Closed || got.Revision() != rec.Revision() {
		t.Fatalf("the ledger holds %+v (%v), want revision %d", got, err, rec.Revision())
	}
}

// Another writer's record is a conflict, also after a write of unknown fate.
func TestAnotherWritersRecordIsAConflict(t *testing.T) {
	t.Parallel()
	l, js := setup(t)
	mine := &ledger.Record{State: ledger.Open}
	js.try(t, func(ctx context.Context) error { return l.Create(ctx, key, mine) })
	other, err := l.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Update(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if err := l.Create(t.Context(), key, mine); !errors.Is(err, ledger.ErrConflict) {
		t.Fatalf("writing over another's record: %v, want a conflict", err)
	}
}
