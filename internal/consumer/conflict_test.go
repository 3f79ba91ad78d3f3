package consumer_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/wakeup"
)

// overtaken is a bus on which another worker writes first, before the first record that match
// selects.
type overtaken struct {
	jetstream.JetStream
	match func(*order.Record) bool
	by    func()
	once  sync.Once
}

func (o *overtaken) PublishMsg(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	if rec, err := order.Decode(m.Data); strings.HasPrefix(m.Subject, "$KV.ENTRUST_ORDERS.") && err == nil && o.match(&rec) {
		o.once.Do(o.by)
	}
	return o.JetStream.PublishMsg(ctx, m, opts...)
}

// closeOvertaken parks an order and has a worker end it. Another worker writes before its
// close.
func (r *rig) closeOvertaken(by func(key order.Key, was order.Stored)) {
	r.t.Helper()
	r.patience()
	key := r.park("o")
	if _, err := r.sim.ApproveAll(0); err != nil {
		r.t.Fatal(err)
	}
	done := make(chan struct{})
	stop := r.runOn(&overtaken{
		JetStream: r.server.JetStream(r.t),
		match:     func(rec *order.Record) bool { return rec.Phase == order.Closed },
		by: func() {
			by(key, r.record("o"))
			close(done)
		},
	}, r.client())
	r.wake(r.wakeupOf(key))
	<-done
	stop()
}

// A worker that closes a generation late leaves the wake-up of the next one alone.
func TestCloseMeetsALaterGeneration(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{PendingFraction: 1})
	var of order.Key
	r.closeOvertaken(func(key order.Key, was order.Stored) {
		of = key
		next := was.Record
		next.Generation = 1
		r.write("o", next)
		w := order.WakeupOf(key, next, time.Now().Add(time.Hour))
		if err := wakeup.New(r.js, r.layout.Parked, r.layout.Subjects()).Schedule(t.Context(), w); err != nil {
			t.Error(err)
		}
	})
	if rec := r.record("o"); rec.Phase != order.Awaiting || rec.Generation != 1 {
		t.Fatalf("the ledger says %+v", rec)
	}
	if w := r.wakeupOf(of); w.Generation != 1 {
		t.Errorf("the wake-up is %+v", w)
	}
}

// A close that finds a value that is not a record writes a whole record over it.
func TestCloseMeetsGarbage(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{PendingFraction: 1})
	var before order.Stored
	r.closeOvertaken(func(key order.Key, was order.Stored) {
		before = was
		if _, err := r.js.Publish(t.Context(), "$KV.ENTRUST_ORDERS."+key.String(), []byte("garbage")); err != nil {
			t.Error(err)
		}
	})
	rec := r.closed("o")
	if rec.Outcome != entrustbus.OutcomeIssued || rec.Kind != entrustbus.KindIssue || string(rec.Digest) != string(before.Digest) {
		t.Errorf("the ledger says %+v", rec)
	}
}
