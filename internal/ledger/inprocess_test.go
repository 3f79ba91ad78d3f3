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
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// replicating is a bucket whose leader proposed the first write. It refuses other writes to the
// subject until that one is applied.
type replicating struct {
	jetstream.JetStream
	proposed *nats.Msg
}

func (r *replicating) PublishMsg(_ context.Context, m *nats.Msg, _ ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	if r.proposed != nil {
		return nil, &jetstream.APIError{Code: 400, ErrorCode: jetstream.JSErrCodeStreamWrongLastSequenceConstant, Description: "wrong last sequence"}
	}
	copied := *m
	r.proposed = &copied
	return nil, nats.ErrTimeout
}

// apply stores the proposed write, and accepts writes again.
func (r *replicating) apply(t *testing.T) jetstream.JetStream {
	t.Helper()
	if _, err := r.JetStream.PublishMsg(t.Context(), r.proposed); err != nil {
		t.Fatal(err)
	}
	return r.JetStream
}

// swapped lets a test replace the JetStream that a ledger writes to.
type swapped struct{ jetstream.JetStream }

// A write that the leader still replicates may be our own, not another writer's. The caller
// tries again, and recognises its write once it is stored.
func TestWriteInProcess(t *testing.T) {
	t.Parallel()
	_, js := setup(t)
	for _, existing := range []bool{false, true} {
		for _, follows := range []bool{false, true} {
			t.Run(fmt.Sprintf("existing %v, another write follows %v", existing, follows), func(t *testing.T) {
				k := order.Key{Producer: "shop", ID: fmt.Sprintf("in-process-%v-%v", existing, follows)}
				through := &swapped{js}
				l := ledger.New(through, bucket)
				var cur order.Stored
				if existing {
					cur = write(t, l, k, cur, record(order.Unaccepted, "w1"))
				}
				slow := &replicating{JetStream: js}
				through.JetStream = slow
				w := l.Write(k, cur, record(order.Submitting, "w1"), nil)
				refused := func() {
					t.Helper()
					if _, err := w.Try(t.Context()); err == nil || errors.Is(err, ledger.ErrConflict) {
						t.Fatalf("a write that is in process ended as %v", err)
					}
				}
				refused()
				if follows {
					w = l.Write(k, cur, record(order.Awaiting, "T-1"), w)
				}
				refused()
				through.JetStream = slow.apply(t)
				s, err := w.Try(t.Context())
				if err != nil || (s.Phase == order.Awaiting) != follows {
					t.Fatalf("trying again stored %s, %v", s.Phase, err)
				}
				wantStored(t, l, k, s)
			})
		}
	}
}

// The worker that has the order in flight writes a record again that was deleted by hand. A
// record that was deleted with its bucket is a conflict: more may be lost. So is another record
// that was created meanwhile.
func TestWriteOfARecordThatIsGone(t *testing.T) {
	t.Parallel()
	l, js := setup(t)
	// After the deletion of an account's only stream, nats-server 2.15.2 removes the account's
	// folders. The creation of another stream may fail because of that.
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "BESIDE"}); err != nil {
		t.Fatal(err)
	}
	// The sequences of the new bucket must differ.
	if _, err := js.Publish(t.Context(), "$KV.ORDERS.shop.filler", nil); err != nil {
		t.Fatal(err)
	}
	other := order.Key{Producer: "shop", ID: "other"}
	mine := write(t, l, key, order.Stored{}, record(order.Submitting, "w1"))
	late := write(t, l, other, order.Stored{}, record(order.Submitting, "w1"))
	before, err := l.Made(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteKeyValue(t.Context(), bucket); err != nil {
		t.Fatal(err)
	}
	kv := makeBucket(t, js)
	if made, err := l.Made(t.Context()); err != nil || !made.After(before) {
		t.Errorf("the bucket was made %s (%v), and the one before it %s", made, err, before)
	}
	write(t, l, other, order.Stored{}, record(order.Submitting, "w2"))
	if _, err := l.Write(other, late, record(order.Awaiting, "T-1"), nil).Try(t.Context()); !errors.Is(err, ledger.ErrConflict) {
		t.Errorf("writing over another's record: %v, want a conflict", err)
	}
	if _, err := l.Write(key, mine, record(order.Awaiting, "T-1"), nil).Try(t.Context()); !errors.Is(err, ledger.ErrConflict) {
		t.Errorf("writing over a record that went with its bucket: %v, want a conflict", err)
	}
	mine = write(t, l, key, order.Stored{}, record(order.Awaiting, "T-1"))
	wantStored(t, l, key, mine)
	if err := kv.Delete(t.Context(), key.String()); err != nil {
		t.Fatal(err)
	}
	mine = write(t, l, key, mine, record(order.Closed, ""))
	wantStored(t, l, key, mine)

	// The same when the record was deleted between a write and its acknowledgement.
	w := l.Write(key, mine, record(order.Submitting, "w1"), nil)
	js.try(t, w)
	if err := kv.Delete(t.Context(), key.String()); err != nil {
		t.Fatal(err)
	}
	s, err := w.Try(t.Context())
	if err != nil {
		t.Fatalf("writing a record that was deleted: %v", err)
	}
	wantStored(t, l, key, s)
	// A deleted record is written again over its revision, which Get returns.
	if err := kv.Delete(t.Context(), key.String()); err != nil {
		t.Fatal(err)
	}
	gone, err := l.Get(t.Context(), key)
	if err != nil || gone.Phase != "" {
		t.Fatalf("a deleted record: %+v, %v", gone, err)
	}
	wantStored(t, l, key, write(t, l, key, gone, record(order.Submitting, "w1")))
}

// A ledger in another domain is written in that domain: the worker is connected to a leaf node,
// the buckets are at the hub. A write to the local domain would be lost.
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
	makeBucket(t, hub.JetStream(t))
	js, err := jetstream.NewWithDomain(leaf.Conn(t), "hub")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for err = errors.New("not joined"); err != nil && ctx.Err() == nil; {
		_, err = js.KeyValue(ctx, bucket) // until the leaf has joined
	}
	if err != nil {
		t.Fatal(err)
	}
	l := ledger.New(js, bucket)
	if err := l.Open(ctx); err != nil {
		t.Fatal(err)
	}
	s := write(t, l, key, order.Stored{}, record(order.Submitting, "w1"))
	wantStored(t, l, key, write(t, l, key, s, record(order.Closed, "")))
}
