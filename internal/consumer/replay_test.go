package consumer_test

import (
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// A tool may copy dead letters back to their subjects, instead of the verb that replays them.
// While the ledger has the order, that enrolls nothing again and leaves the result in force.
// That is so with the bytes alone, and with all headers of the dead letter.
func TestLettersRepublishedRaw(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{PendingFraction: 1, Faults: []gatewaytest.Fault{
		{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultReject, CNPrefix: "no"},
	}})
	r.run()
	r.send(&entrustbus.Issue{ID: "no", CSRPEM: csr(t, "no")})
	slow := &entrustbus.Issue{ID: "slow", CSRPEM: csr(t, "slow"), PollMaxWaitSeconds: 1}
	r.send(slow)
	r.result("no")
	r.result("slow")
	r.replay(slow, 1)
	r.result("slow", 1)
	r.wantLetters(order.Rejected, order.Expired, order.Expired)
	r.quiet()
	enrolled, results := r.enrolled(), r.count(r.layout.Results)
	for sequence := range uint64(3) {
		letter, err := streams.At(t.Context(), r.js, r.layout.Dead, sequence+1)
		if err != nil {
			t.Fatal(err)
		}
		whole := nats.Header{}
		for name, values := range letter.Header {
			whole[name] = values
		}
		delete(whole, "Nats-Expected-Stream") // with it the server refuses the copy
		for _, header := range []nats.Header{{}, whole} {
			copied := &nats.Msg{Subject: letter.Header.Get(entrustbus.HeaderDeadSubject), Header: header, Data: letter.Data}
			if ack, err := r.js.PublishMsg(t.Context(), copied); err != nil || ack.Duplicate {
				t.Fatalf("publishing letter %d again: %+v, %v", sequence+1, ack, err)
			}
		}
	}
	r.quiet()
	if n := r.enrolled(); n != enrolled {
		t.Errorf("%d enrollments became %d", enrolled, n)
	}
	if n := r.count(r.layout.Results); n != results {
		t.Errorf("%d results became %d", results, n)
	}
	if n := r.count(r.layout.Dead); n != 3 {
		t.Errorf("%d letters, want the 3 that there were", n)
	}
}

// The replay of an order that the gateway answered with a wrong certificate is flagged: the
// gateway has already issued for it.
func TestReplayOfAWrongCertificate(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{Faults: []gatewaytest.Fault{{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultWrongKey, Times: 1}}})
	r.run()
	req := &entrustbus.Issue{ID: "w", CSRPEM: csr(t, "w")}
	r.send(req)
	if res := r.result("w"); res.Outcome != entrustbus.OutcomeFailed || res.PossibleDuplicate {
		t.Fatalf("result is %+v", res)
	}
	r.replay(req, 1)
	if res := r.result("w", 1); res.Outcome != entrustbus.OutcomeIssued || !res.PossibleDuplicate || res.Submissions != 1 {
		t.Errorf("replayed: %+v (error %+v)", res, res.Error)
	}
}
