package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/consumer"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// slow is a gateway that delays its answers to enrollments.
type slow struct {
	consumer.Gateway
	calls  atomic.Int32
	called chan struct{}
	answer chan struct{}
}

func (g *slow) Enroll(ctx context.Context, e gateway.Enrollment) (gateway.Answer, error) {
	g.calls.Add(1)
	a, err := g.Gateway.Enroll(ctx, e)
	g.called <- struct{}{}
	<-g.answer
	return a, err
}

// A ledger that is lost during a call: the order ends with the call's answer, and is not
// submitted again.
func TestLedgerLostDuringACall(t *testing.T) {
	t.Parallel()
	for name, sim := range map[string]gatewaytest.Config{"issued": {}, "pending": {PendingFraction: 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := setup(t, sim)
			gw := &slow{Gateway: r.client(), called: make(chan struct{}, 9), answer: make(chan struct{})}
			r.runWith(gw)
			r.send(&entrustbus.Issue{ID: "other", CSRPEM: csr(t, "other")}) // so that sequences differ
			r.send(&entrustbus.Issue{ID: "o", CSRPEM: csr(t, "o")})
			<-gw.called
			<-gw.called
			r.loseLedger()
			close(gw.answer)
			r.eventually("no request left", func() bool { return r.count(r.layout.Requests) == 0 })
			if sim.PendingFraction == 0 {
				r.closed("o")
			} else if rec := r.record("o"); rec.Phase != order.Awaiting {
				t.Errorf("the ledger says %+v", rec)
			}
			if n := gw.calls.Load(); n != 2 {
				t.Errorf("%d calls were made for two orders", n)
			}
		})
	}
}

// A redelivered request whose record was lost with the ledger: its result or its wake-up
// decides.
func TestLedgerLostSinceAResult(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	stop := r.run()
	request := &entrustbus.Issue{ID: "o", CSRPEM: csr(t, "o")}
	r.send(request)
	r.result("o")
	r.quiet()
	stop()
	r.loseLedger()
	r.send(request, nats.MsgIdHdr, "again")
	r.deliver(streams.ConsumerIssue, 1)
	r.run()
	r.quiet()
	if n, results := r.enrolled(), r.count(r.layout.Results); n != 1 || results != 1 {
		t.Errorf("%d enrollments and %d results, want 1 and 1", n, results)
	}
	if rec := r.closed("o"); rec.Outcome != entrustbus.OutcomeIssued {
		t.Errorf("the ledger says %+v", rec)
	}
}

func TestLedgerLostSinceParking(t *testing.T) {
	t.Parallel()
	// The order is known by its wake-up, or by the due message that the wake-up became and no
	// worker has handled.
	for _, due := range []bool{false, true} {
		t.Run(fmt.Sprintf("due=%v", due), func(t *testing.T) {
			t.Parallel()
			r := setup(t, gatewaytest.Config{PendingFraction: 1})
			if !due {
				r.cfg.Schedule.First, r.cfg.Schedule.Max = 3*r.cfg.Schedule.Max, 3*r.cfg.Schedule.Max
			}
			request := &entrustbus.Issue{ID: "o", CSRPEM: csr(t, "o")}
			stop := r.run()
			r.send(request)
			r.eventually("the order parked", func() bool { return r.record("o").Phase == order.Awaiting })
			r.eventually("no request left", func() bool { return r.count(r.layout.Requests) == 0 })
			stop()
			tracking := r.record("o").TrackingID
			r.loseLedger()
			parked := r.layout.Subjects().Parked("shop", "o")
			r.eventually("the wake-up due", func() bool {
				_, err := streams.Last(t.Context(), r.js, r.layout.Parked, parked)
				return !due || errors.Is(err, streams.ErrNoMessage)
			})
			r.send(request, nats.MsgIdHdr, "again")
			r.deliver(streams.ConsumerIssue, 1)
			r.run()
			r.eventually("no request left", func() bool { return r.count(r.layout.Requests) == 0 })
			if err := r.sim.Approve(tracking); err != nil {
				t.Fatal(err)
			}
			if res := r.result("o"); res.Outcome != entrustbus.OutcomeIssued || res.TrackingID != tracking || r.enrolled() != 1 {
				t.Errorf("result is %+v (error %+v), %d enrollments", res, res.Error, r.enrolled())
			}
		})
	}
}

// A request that was delivered before the ledger was made may have been submitted: its order is
// indeterminate. A request that is younger than the ledger was handed back before any try.
func TestLedgerLostWithNothingLeft(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	r.send(&entrustbus.Issue{ID: "before", CSRPEM: csr(t, "before")})
	r.deliver(streams.ConsumerIssue, 1)
	r.loseLedger()
	stop := r.run()
	if res := r.result("before"); res.Outcome != entrustbus.OutcomeUnconfirmed {
		t.Errorf("result is %+v (error %+v)", res, res.Error)
	}
	r.wantLetters(order.Unconfirmed)
	stop()
	r.send(&entrustbus.Issue{ID: "since", CSRPEM: csr(t, "since")})
	r.deliver(streams.ConsumerIssue, 3)
	r.run()
	if res := r.result("since"); res.Outcome != entrustbus.OutcomeIssued || res.Submissions != 1 || r.enrolled() != 1 {
		t.Errorf("result is %+v (error %+v), %d enrollments", res, res.Error, r.enrolled())
	}
}

// A generation counts on an operator's subject only: a producer that names one sends the same
// request again.
func TestGenerationOfAProducer(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{Faults: []gatewaytest.Fault{{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultReject, Times: 1}}})
	r.run()
	request := &entrustbus.Issue{ID: "o", CSRPEM: csr(t, "o")}
	r.send(request)
	r.result("o")
	body, err := entrustbus.EncodeRequest(entrustbus.EncodingMsgpack, request)
	if err != nil {
		t.Fatal(err)
	}
	msg := &nats.Msg{Subject: r.layout.Subjects().Request(producer, entrustbus.KindIssue), Data: body, Header: nats.Header{
		entrustbus.HeaderContentType: {entrustbus.EncodingMsgpack.ContentType()}, entrustbus.HeaderReplay: {"1"},
	}}
	if _, err := r.js.PublishMsg(t.Context(), msg); err != nil {
		t.Fatal(err)
	}
	r.quiet()
	if n := r.count(r.layout.Results); n != 1 {
		t.Errorf("%d results, want 1", n)
	}
	r.replay(request, 1)
	if res := r.result("o", 1); res.Outcome != entrustbus.OutcomeIssued || res.Replay != 1 {
		t.Errorf("replayed: %+v (error %+v)", res, res.Error)
	}
	r.wantLetters(order.Rejected)
}

// An order that was submitted, and whose answer no worker received, does not end as refused
// after the worker's limits were lowered.
func TestRefusedWithUnknownFate(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	request := &entrustbus.Issue{ID: "o", CSRPEM: csr(t, "o"), PollMaxWaitSeconds: 3600}
	digest, err := entrustbus.Digest(request)
	if err != nil {
		t.Fatal(err)
	}
	r.write("o", order.Record{Phase: order.Submitting, Kind: entrustbus.KindIssue, Digest: digest[:], Owner: "gone", Lease: time.Millisecond, Submissions: 1})
	r.send(request)
	r.cfg.MaxWaitLimit = r.cfg.MaxWait
	r.run()
	if res := r.result("o"); res.Outcome != entrustbus.OutcomeUnconfirmed || res.Submissions != 1 {
		t.Errorf("result is %+v (error %+v)", res, res.Error)
	}
	r.wantLetters(order.Unconfirmed)
	r.replay(request, 1)
	if res := r.result("o", 1); !strings.Contains(fmt.Sprint(res.Error), "poll_max_wait_seconds") {
		t.Errorf("replayed: %+v (error %+v)", res, res.Error)
	}
}
