package consumer_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/order"
)

// The worker does not wait for the close of an order that is issued at once. When the close is
// lost and the message acknowledged, the watchdog's wake-up finds the result, and the record is
// closed from it without a call.
func TestLostClose(t *testing.T) {
	t.Parallel()
	for _, phase := range []order.Phase{order.Submitting, order.Unaccepted, order.Indeterminate} {
		t.Run(string(phase), func(t *testing.T) {
			t.Parallel()
			r := setup(t, gatewaytest.Config{})
			r.run()
			r.send(&entrustbus.Issue{ID: "one", CSRPEM: csr(t, "issue-one")})
			issued := r.result("one")
			r.quiet()
			lost := r.closed("one").Record
			lost.Phase, lost.Outcome, lost.Serial = phase, "", ""
			lost.Lease = time.Minute
			r.write("one", lost)
			key := order.Key{Producer: producer, ID: "one"}
			r.wake(order.WakeupOf(key, lost, time.Now()))
			r.eventually("closed from its result", func() bool {
				rec := r.record("one")
				return rec.Phase == order.Closed && rec.Serial == issued.Serial
			})
			r.quiet()
			if n := r.enrolled(); n != 1 {
				t.Errorf("enrolled %d times", n)
			}
			r.wantLetters()
		})
	}
}

// rolledBackAtClose is a bus that loses an order's record once its result is stored. The worker
// learns of the loss when it closes the order for the second time.
type rolledBackAtClose struct {
	jetstream.JetStream
	lose, notice func()
	stage        atomic.Int32
}

func (b *rolledBackAtClose) PublishMsg(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	if strings.Contains(m.Subject, "$KV.ENTRUST_ORDERS.") && b.stage.CompareAndSwap(1, 2) {
		b.notice()
	}
	ack, err := b.JetStream.PublishMsg(ctx, m, opts...)
	if strings.HasPrefix(m.Subject, "entrust.result.") && b.stage.CompareAndSwap(0, 1) {
		b.lose()
	}
	return ack, err
}

// An order whose result survived a rollback is closed by it, though its message is acknowledged
// and its record is lost.
func TestCloseMeetsARollback(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	bus := &rolledBackAtClose{JetStream: r.server.JetStream(t)}
	bus.lose = func() {
		orders, err := r.js.Stream(t.Context(), "KV_"+r.layout.Orders)
		if err == nil {
			err = orders.Purge(t.Context(), jetstream.WithPurgeSubject("$KV."+r.layout.Orders+"."+producer+".one"))
		}
		if err != nil {
			t.Error(err)
		}
	}
	bus.notice = func() {
		told := control.Open(control.Config{JS: r.js, Bucket: r.layout.Control, Worker: "another", Gateway: r.sim.URL(), Log: r.logger()})
		if _, err := told.TellRollback(t.Context(), control.Rollback{Count: 1, Worker: "another"}); err != nil {
			t.Error(err)
		}
		// A worker compares before it writes its presence.
		last := r.presence()
		for range 2 {
			r.eventually("the worker's next presence", func() bool { return r.presence() != last })
			last = r.presence()
		}
	}
	r.runOn(bus, r.client())
	r.send(&entrustbus.Issue{ID: "one", CSRPEM: csr(t, "one")})
	issued := r.result("one")
	if rec := r.closed("one"); rec.Serial != issued.Serial {
		t.Errorf("the record says %+v", rec)
	}
	if n := r.enrolled(); n != 1 {
		t.Errorf("enrolled %d times", n)
	}
}

// presence is the sequence of the newest presence in the control bucket.
func (r *rig) presence() uint64 {
	r.t.Helper()
	s, err := r.js.Stream(r.t.Context(), "KV_"+r.layout.Control)
	if err != nil {
		r.t.Fatal(err)
	}
	m, err := s.GetLastMsgForSubject(r.t.Context(), "$KV."+r.layout.Control+".worker.*")
	if err != nil {
		r.t.Fatal(err)
	}
	return m.Sequence
}
