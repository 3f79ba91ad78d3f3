package consumer_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/order"
)

// stubborn is a bus that does not store the first ledger record that match selects, until its
// writer gives up.
type stubborn struct {
	jetstream.JetStream
	match   func(*order.Record) bool
	writing chan struct{} // closed when that write has begun
	once    sync.Once
	over    atomic.Bool
}

func (s *stubborn) PublishMsg(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	rec, err := order.Decode(m.Data)
	if strings.HasPrefix(m.Subject, "$KV.ENTRUST_ORDERS.") && !s.over.Load() && err == nil && s.match(&rec) {
		s.once.Do(func() { close(s.writing) })
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return s.JetStream.PublishMsg(ctx, m, opts...)
}

// stopInWrite sends one order to a worker whose ledger does not store the record that match
// selects, and stops the worker. The ledger stores the very last write.
func (r *rig) stopInWrite(gw *enroller, match func(*order.Record) bool) {
	r.t.Helper()
	r.cfg.Drain = time.Millisecond
	bus := &stubborn{JetStream: r.server.JetStream(r.t), match: match, writing: make(chan struct{})}
	stop := r.runOn(bus, gw)
	r.send(&entrustbus.Issue{ID: "o", CSRPEM: csr(r.t, "o")})
	<-bus.writing
	// From now on a repeated write is stored, and a waiting one is not.
	bus.over.Store(true)
	stop()
}

// An order with a tracking id is parked, although a stop interrupted the write of it.
func TestStopWhileParking(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	r.stopInWrite(&enroller{enroll: func(context.Context, gateway.Enrollment) (gateway.Answer, error) {
		return gateway.Answer{State: gateway.Pending, TrackingID: "T-1", HTTPStatus: 202}, nil
	}}, func(rec *order.Record) bool { return rec.Phase == order.Awaiting })
	if rec := r.record("o"); rec.Phase != order.Awaiting || rec.TrackingID != "T-1" {
		t.Errorf("the ledger says %+v", rec)
	}
}

// An order that the gateway provably did not accept stays unaccepted, although a stop
// interrupted the write of that, or of its next submission.
func TestStopWhileUnaccepted(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		match func(*order.Record) bool
	}{
		{"not accepted", func(rec *order.Record) bool { return rec.Phase == order.Unaccepted }},
		{"first call", func(rec *order.Record) bool { return rec.Phase == order.Submitting }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := setup(t, gatewaytest.Config{})
			r.stopInWrite(&enroller{enroll: func(context.Context, gateway.Enrollment) (gateway.Answer, error) {
				return gateway.Answer{}, &gateway.Error{Op: gateway.OpEnroll, Fate: gateway.Unauthorized, Class: "auth", HTTPStatus: 403, Message: "profile"}
			}}, tc.match)
			if rec := r.record("o"); rec.Phase != order.Unaccepted || rec.Owner != "" || rec.Request == nil {
				t.Errorf("the ledger says %+v", rec)
			}
		})
	}
}

// A malformed answer is kept across a stop. The worker that looks the order up must not treat
// it as an order whose worker died, and submit it again.
func TestStopBeforeALookUp(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	r.stopInWrite(&enroller{
		enroll: func(context.Context, gateway.Enrollment) (gateway.Answer, error) {
			return gateway.Answer{}, &gateway.Error{Op: gateway.OpEnroll, Fate: gateway.Unreadable, Class: "other", HTTPStatus: 200, Message: "broken"}
		},
		find: func() error { return nil },
	}, func(rec *order.Record) bool { return rec.Phase == order.Indeterminate })
	if rec := r.record("o"); rec.Phase != order.Indeterminate || rec.Cause.Code != order.CodeMalformed {
		t.Errorf("the ledger says %+v", rec)
	}
}

// Calls that our own stop interrupts do not count against the gateway.
func TestStopIsNoOutage(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	r.cfg.Drain = time.Millisecond
	const n = 6 // one more than the number that opens the breaker
	calling := make(chan struct{}, n)
	stop := r.runWith(&enroller{enroll: func(ctx context.Context, _ gateway.Enrollment) (gateway.Answer, error) {
		calling <- struct{}{}
		<-ctx.Done()
		return gateway.Answer{}, &gateway.Error{Op: gateway.OpEnroll, Fate: gateway.Unknown, Class: "network", Message: "context canceled"}
	}})
	for _, id := range []string{"a", "b", "c", "d", "e", "f"} {
		r.send(&entrustbus.Issue{ID: id, CSRPEM: csr(t, id)})
	}
	for range n {
		<-calling
	}
	stop()
	if strings.Contains(r.log.String(), "breaker opened") {
		t.Error("a stop opened the breaker")
	}
}

// A close that no handling waits for, and that the ledger does not store, delays a stop no
// longer than the last acknowledgements do.
func TestStopWhileClosing(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	bus := &stubborn{JetStream: r.server.JetStream(t), match: closing, writing: make(chan struct{})}
	gw := &slow{Gateway: r.client(), called: make(chan struct{}, 1), answer: make(chan struct{})}
	stop := r.runOn(bus, gw)
	r.send(&entrustbus.Issue{ID: "o", CSRPEM: csr(t, "o")})
	<-gw.called
	r.write("o", r.record("o").Record) // so that the close is refused and repeated
	close(gw.answer)
	<-bus.writing
	stopped := make(chan struct{})
	go func() { defer close(stopped); stop() }()
	select {
	case <-stopped:
	case <-time.After(20 * time.Second):
		t.Error("the worker does not stop")
		bus.over.Store(true)
	}
}
