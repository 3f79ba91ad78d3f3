package consumer_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

func closing(rec *order.Record) bool { return rec.Phase == order.Closed }

// forgetDue makes the consumer of the wake-ups again. It delivers the delivered messages again,
// as if for the first time. So does the consumer of a killed nats-server, which stores its
// deliveries only later.
func (r *rig) forgetDue() {
	r.t.Helper()
	if err := r.js.DeleteConsumer(r.t.Context(), r.layout.Parked, streams.ConsumerPoll); err != nil {
		r.t.Fatal(err)
	}
	if _, err := streams.Provision(r.t.Context(), r.js, r.layout); err != nil {
		r.t.Fatal(err)
	}
}

// polledOnce fails when the gateway was polled for the one order more than once.
func (r *rig) polledOnce() {
	r.t.Helper()
	if n := r.sim.Stats().Polls; n != 1 {
		r.t.Errorf("the gateway was asked %d times, want once", n)
	}
	if res := r.result("o"); res.Outcome != entrustbus.OutcomeIssued || res.Polls != 1 {
		r.t.Errorf("result is %+v (error %+v)", res, res.Error)
	}
}

// A message that is delivered again while the worker has it in flight is not handled twice at
// once. Here the order's result is published and its record is not closed, so a second handling
// would poll the gateway for an ended order.
func TestDeliveredAgainWhileInHand(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{PendingFraction: 1, ApproveAfter: 50 * time.Millisecond})
	bus := &stubborn{JetStream: r.server.JetStream(t), match: closing, writing: make(chan struct{})}
	r.runOn(bus, r.client())
	r.send(&entrustbus.Issue{ID: "o", CSRPEM: csr(t, "o")})
	<-bus.writing
	r.forgetDue()
	r.eventually("the second delivery seen", func() bool { return strings.Contains(r.log.String(), "delivered again while in flight") })
	bus.over.Store(true)
	r.quiet()
	r.polledOnce()
}

// A wake-up that was due before the worker's connection was made may have been delivered over
// another one. The server may still count this delivery as the first.
func TestDeliveredAgainAsForTheFirstTime(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{PendingFraction: 1, ApproveAfter: 50 * time.Millisecond})
	r.cfg.Drain = time.Millisecond
	bus := &stubborn{JetStream: r.server.JetStream(t), match: closing, writing: make(chan struct{})}
	stop := r.runOn(bus, r.client())
	r.send(&entrustbus.Issue{ID: "o", CSRPEM: csr(t, "o")})
	<-bus.writing
	stop()
	if rec := r.record("o"); rec.Phase != order.Awaiting {
		t.Fatalf("the ledger says %+v", rec)
	}
	r.forgetDue()
	r.run()
	r.quiet()
	r.polledOnce()
}

// A nats-server that is killed while orders end delivers the messages in flight again: the
// worker continues where it was, and submits no order again.
func TestServerKilledWhileOrdersEnd(t *testing.T) {
	t.Parallel()
	r := setupOn(t, testbed.StartProcess(t), gatewaytest.Config{PendingFraction: 1, ApproveAfter: time.Second, Faults: []gatewaytest.Fault{
		{Op: gatewaytest.OpPoll, Kind: gatewaytest.FaultLatency, Delay: 10 * time.Millisecond},
	}})
	r.cfg.Layout.AckWait = streams.DefaultLayout().AckWait // the ack wait of setup would end meanwhile
	r.cfg.Schedule.First, r.cfg.Schedule.Max = 3*time.Second, 3*time.Second
	r.cfg.MaxWait = time.Minute
	r.run()
	request := csr(t, "o")
	const orders = 600
	for i := range orders {
		r.send(&entrustbus.Issue{ID: fmt.Sprint("o", i), CSRPEM: request})
	}
	for kills := range 2 {
		r.eventually("polls", func() bool { return r.sim.Stats().Polls > (kills+1)*orders/4 })
		r.server.Kill()
		time.Sleep(time.Second)
		if err := r.server.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	r.eventually("every result", func() bool { return r.count(r.layout.Results) == orders })
	for p := range r.sim.Polls() {
		if p.Count != 1 {
			t.Errorf("%s was asked for %d times", p.TrackingID, p.Count)
		}
	}
}

// A sequence alone does not identify a message in flight: a stream that was deleted and made
// again counts from 1.
func TestSequenceOfAnotherStream(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	calling, release := make(chan struct{}), make(chan struct{})
	r.runWith(&enroller{enroll: func(ctx context.Context, q gateway.Enrollment) (gateway.Answer, error) {
		if q.CSR.Subject.CommonName == "old" {
			close(calling)
			<-release
		}
		return gateway.Answer{}, &gateway.Error{Op: gateway.OpEnroll, Fate: gateway.Refused, Class: "validation", HTTPStatus: 422, Message: "no"}
	}})
	t.Cleanup(func() { close(release) }) // before the worker stops
	r.send(&entrustbus.Issue{ID: "old", CSRPEM: csr(t, "old")})
	<-calling
	if err := r.js.DeleteStream(t.Context(), r.layout.Requests); err != nil {
		t.Fatal(err)
	}
	if _, err := streams.Provision(t.Context(), r.js, r.layout); err != nil {
		t.Fatal(err)
	}
	r.send(&entrustbus.Issue{ID: "new", CSRPEM: csr(t, "new")})
	if res := r.result("new"); res.Outcome != entrustbus.OutcomeFailed {
		t.Errorf("result is %+v", res)
	}
}
