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

// stubborn is a bus that does not take the first ledger record that match picks out,
// until whoever wrote it gives up.
type stubborn struct {
	jetstream.JetStream
	match   func(*order.Record) bool
	writing chan struct{} // closed when that write is under way
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

// stopInWrite sends one order to a worker whose ledger does not take what match
// picks out, and stops the worker. The ledger takes the very last write.
func (r *rig) stopInWrite(gw *enroller, match func(*order.Record) bool) {
	r.t.Helper()
	r.cfg.Drain = time.Millisecond
	bus := &stubborn{JetStream: r.server.JetStream(r.t), match: match, writing: make(chan struct{})}
	stop := r.runOn(bus, gw)
	r.send(&entrustbus.Issue{ID: "o", CSRPEM: csr(r.t, "o")})
	<-bus.writing
	// A write that is tried again is taken from now on, one that waits is not.
	bus.over.Store(true)
	stop()
}

// An order that the gateway named is parked, although a stop ended the write that
// says so.
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

// An order that the gateway provably did not take stays one, although a stop ended
// the write that says so, or the one that says that it is sent again.
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

// What is known of an answer that nobody could read outlives a stop: whoever looks the
// order up must not take it for one whose worker died, and submit it again.
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

// Calls that our own stop cuts off are no trouble of the gateway's.
func TestStopIsNoOutage(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	r.cfg.Drain = time.Millisecond
	const n = 6 // one more than what opens the breaker
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

// A close that nothing waits for, and that the ledger does not take, holds up a stop no
// longer than the last acknowledgements do.
func TestStopWhileClosing(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	bus := &stubborn{JetStream: r.server.JetStream(t), match: closing, writing: make(chan struct{})}
	gw := &slow{Gateway: r.client(), called: make(chan struct{}, 1), answer: make(chan struct{})}
	stop := r.runOn(bus, gw)
	r.send(&entrustbus.Issue{ID: "o", CSRPEM: csr(t, "o")})
	<-gw.called
	r.write("o", r.record("o").Record) // so that the close is refused, and tried again
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
