package ledger_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// A write whose acknowledgement was lost is the writer's own in the next call too,
// as long as nobody else wrote in between.
func TestLostAcknowledgement(t *testing.T) {
	t.Parallel()
	server := testbed.StartProcess(t) // one that can be frozen
	js := server.JetStream(t)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	if _, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "L", History: 1}); err != nil {
		t.Fatal(err)
	}
	l := ledger.New(js, "L")
	// lose has a write stored whose acknowledgement comes too late.
	lose := func(t *testing.T, write func(context.Context) error) {
		t.Helper()
		server.Freeze(true)
		short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		err := write(short)
		cancel()
		server.Freeze(false)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("a frozen server answered: %v", err)
		}
	}
	create := func(key ledger.Key, r *ledger.Record) func(context.Context) error {
		return func(ctx context.Context) error { return l.Create(ctx, key, r) }
	}
	update := func(r *ledger.Record) func(context.Context) error {
		return func(ctx context.Context) error { return l.Update(ctx, r) }
	}
	fresh := func() *ledger.Record {
		return &ledger.Record{State: ledger.Open, Kind: entrustbus.KindIssue, Worker: "w1"}
	}

	// One after another: a frozen server is frozen for everybody.
	for _, row := range []struct {
		name  string
		begin func(t *testing.T, key ledger.Key) *ledger.Record // returns a record whose last write was lost
		again func(key ledger.Key, r *ledger.Record) func(context.Context) error
		want  error
	}{
		{"create", func(t *testing.T, key ledger.Key) *ledger.Record {
			r := fresh()
			lose(t, create(key, r))
			return r
		}, create, nil},
		{"create twice", func(t *testing.T, key ledger.Key) *ledger.Record {
			r := fresh()
			lose(t, create(key, r))
			lose(t, create(key, r))
			return r
		}, create, nil},
		{"update", func(t *testing.T, key ledger.Key) *ledger.Record {
			r := fresh()
			if err := l.Create(ctx, key, r); err != nil {
				t.Fatal(err)
			}
			r.State = ledger.Parked
			lose(t, update(r))
			return r
		}, func(_ ledger.Key, r *ledger.Record) func(context.Context) error { return update(r) }, nil},
		{"changed before it is sent again", func(t *testing.T, key ledger.Key) *ledger.Record {
			r := fresh()
			lose(t, create(key, r))
			r.Worker, r.TrackingID = "", "T-1"
			return r
		}, create, nil},
		{"another writer in between", func(t *testing.T, key ledger.Key) *ledger.Record {
			r := fresh()
			lose(t, create(key, r))
			// The read may overtake the write that the server has still to store.
			other, err := l.Get(ctx, key)
			for ; errors.Is(err, ledger.ErrNoRecord) && ctx.Err() == nil; other, err = l.Get(ctx, key) {
			}
			if err == nil {
				other.Worker = "w2"
				err = l.Update(ctx, other)
			}
			if err != nil {
				t.Fatal(err)
			}
			return r
		}, create, ledger.ErrConflict},
	} {
		t.Run(row.name, func(t *testing.T) {
			key := ledger.Key{Producer: "shop", ID: t.Name()[len("TestLostAcknowledgement/"):]}
			r := row.begin(t, key)
			if err := row.again(key, r)(ctx); !errors.Is(err, row.want) {
				t.Fatalf("writing again: %v, want %v", err, row.want)
			}
			if row.want != nil {
				return
			}
			stored, err := l.Get(ctx, key)
			if err != nil {
				t.Fatal(err)
			}
			if stored.State != r.State || stored.Worker != r.Worker || stored.TrackingID != r.TrackingID || stored.Revision() != r.Revision() {
				t.Errorf("the ledger says %s %q %q at %d, want %s %q %q at %d", stored.State, stored.Worker, stored.TrackingID, stored.Revision(),
					r.State, r.Worker, r.TrackingID, r.Revision())
			}
			// The record goes on from there.
			if err := l.Update(ctx, r); err != nil {
				t.Errorf("updating the record: %v", err)
			}
		})
	}
}
