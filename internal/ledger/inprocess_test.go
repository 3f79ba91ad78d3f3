package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// replicating is a bucket whose leader proposed the first write, and refuses others
// of the subject until that is applied.
type replicating struct {
	jetstream.JetStream
	proposed *nats.Msg
}

func (r *replicating) PublishMsg(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	if r.proposed != nil {
		return nil, &jetstream.APIError{Code: 400, ErrorCode: jetstream.JSErrCodeStreamWrongLastSequenceConstant, Description: "wrong last sequence"}
	}
	copied := *m
	r.proposed = &copied
	return nil, nats.ErrTimeout
}

// apply stores what was proposed, and takes writes again.
func (r *replicating) apply(t *testing.T) jetstream.JetStream {
	t.Helper()
	if _, err := r.JetStream.PublishMsg(t.Context(), r.proposed); err != nil {
		t.Fatal(err)
	}
	return r.JetStream
}

// swapped lets a test replace what a ledger writes through.
type swapped struct{ jetstream.JetStream }

// A write of our own that the leader is still replicating is no other writer's: the
// caller tries again, and knows it when it is stored.
func TestWriteInProcess(t *testing.T) {
	t.Parallel()
	_, js := setup(t)
	for _, existing := range []bool{false, true} {
		t.Run(fmt.Sprintf("existing %v", existing), func(t *testing.T) {
			k := ledger.Key{Producer: "shop", ID: fmt.Sprint("in-process-", existing)}
			through := &swapped{js}
			l := ledger.New(through, "ORDERS")
			rec := &ledger.Record{State: ledger.Open}
			write := func() error { return l.Create(t.Context(), k, rec) }
			if existing {
				if err := write(); err != nil {
					t.Fatal(err)
				}
				rec.State = ledger.Closed
				write = func() error { return l.Update(t.Context(), rec) }
			}
			slow := &replicating{JetStream: js}
			through.JetStream = slow
			if err := write(); err == nil || errors.Is(err, ledger.ErrConflict) {
				t.Fatalf("a write that is in process ended as %v", err)
			}
			through.JetStream = slow.apply(t)
			if err := write(); err != nil {
				t.Fatalf("writing again: %v", err)
			}
			got, err := l.Get(t.Context(), k)
			if err != nil || got.State != rec.State || got.Revision() != rec.Revision() {
				t.Fatalf("the ledger holds %+v (%v), want %s at %d", got, err, rec.State, rec.Revision())
			}
		})
	}
}

// A record that went with its bucket, or by hand, is written anew by whoever has
// the order in hand; another one that came to be meanwhile is a conflict as ever.
func TestWriteOfARecordThatIsGone(t *testing.T) {
	t.Parallel()
	l, js := setup(t)
	// Behind the deletion of an account's only stream nats-server 2.15.2 removes the
	// account's folders, and the creation of another may fail for it.
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "BESIDE"}); err != nil {
		t.Fatal(err)
	}
	// Sequences of the new bucket must not happen to fit.
	if _, err := js.Publish(t.Context(), "$KV.ORDERS.shop.filler", nil); err != nil {
		t.Fatal(err)
	}
	mine, late := &ledger.Record{State: ledger.Open}, &ledger.Record{State: ledger.Open}
	other := ledger.Key{Producer: "shop", ID: "other"}
	if err := errors.Join(l.Create(t.Context(), key, mine), l.Create(t.Context(), other, late)); err != nil {
		t.Fatal(err)
	}
	before, err := l.Made(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteKeyValue(t.Context(), "ORDERS"); err != nil {
		t.Fatal(err)
	}
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "ORDERS"})
	if err != nil {
		t.Fatal(err)
	}
	if made, err := l.Made(t.Context()); err != nil || !made.After(before) {
		t.Errorf("the bucket was made %s (%v), and the one before it %s", made, err, before)
	}
	if err := l.Create(t.Context(), other, &ledger.Record{State: ledger.Open}); err != nil {
		t.Fatal(err)
	}
	if err := l.Update(t.Context(), late); !errors.Is(err, ledger.ErrConflict) {
		t.Errorf("writing over another's record: %v, want a conflict", err)
	}
	mine.State = ledger.Closed
	if err := l.Update(t.Context(), mine); err != nil {
		t.Fatalf("writing a record that is gone: %v", err)
	}
	if err := kv.Delete(t.Context(), key.String()); err != nil {
		t.Fatal(err)
	}
	if err := l.Update(t.Context(), mine); err != nil {
		t.Fatalf("writing a record that was deleted: %v", err)
	}
	if got, err := l.Get(t.Context(), key); err != nil || got.State != ledger.Closed {
		t.Errorf("the ledger holds %+v (%v)", got, err)
	}
}

// A ledger in another domain is written there, and not into the void: the worker is
// connected to a leaf node, the buckets are at the hub.
func TestLedgerInAnotherDomain(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	leaves := listener.Addr().String()
	listener.Close()
	domain := func(name string) string {
		return fmt.Sprintf("jetstream { store_dir: %q, domain: %s }", t.TempDir(), name)
	}
	hub := testbed.Start(t, domain("hub"), fmt.Sprintf("leafnodes { listen: %q }", leaves))
	leaf := testbed.Start(t, domain("leaf"), fmt.Sprintf("leafnodes { remotes: [ { url: \"nats://%s\" } ] }", leaves))
	if _, err := hub.JetStream(t).CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "ORDERS"}); err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.NewWithDomain(leaf.Conn(t), "hub")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for err = errors.New("not joined"); err != nil && ctx.Err() == nil; {
		_, err = js.KeyValue(ctx, "ORDERS") // until the leaf has joined
	}
	if err != nil {
		t.Fatal(err)
	}
	l, rec := ledger.New(js, "ORDERS"), &ledger.Record{State: ledger.Open}
	if err := l.Create(ctx, key, rec); err != nil {
		t.Fatal(err)
	}
	rec.State = ledger.Closed
	if err := l.Update(ctx, rec); err != nil {
		t.Fatal(err)
	}
	if got, err := l.Get(ctx, key); err != nil || got.State != ledger.Closed {
		t.Errorf("the ledger holds %+v (%v)", got, err)
	}
}
