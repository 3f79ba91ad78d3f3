package consumer_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/consumer"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/parking"
)

// barred refuses orders of that name, as where a client may not use a profile.
var barred = gatewaytest.Fault{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultStatus, Status: http.StatusForbidden, CNPrefix: "barred"}

// Orders that the gateway does not take although it takes others leave the lane
// and the server's count of what it may deliver alone, and are taken when it does.
func TestSetAside(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{Faults: []gatewaytest.Fault{barred}})
	r.cfg.Issue = 2
	r.cfg.Schedule.Max = 2 * time.Second
	stop := r.run()
	const n = 6
	for i := range n {
		r.send(&entrustbus.Issue{ID: fmt.Sprint("barred", i), CSRPEM: csr(t, fmt.Sprint("barred", i))})
	}
	r.send(&entrustbus.Issue{ID: "good", CSRPEM: csr(t, "good")})
	if res := r.result("good"); res.Outcome != entrustbus.OutcomeIssued {
		t.Errorf("behind those that are not taken: %+v (error %+v)", res, res.Error)
	}
	r.eventually("no request unacknowledged", func() bool { return r.count(r.layout.Requests) == 0 })
	stop() // and nothing of it is this process's
	r.send(&entrustbus.Cancel{ID: "stop", Order: "barred0"})
	r.run()
	if res := r.result("stop"); res.Outcome != entrustbus.OutcomeCancelled {
		t.Errorf("cancelling what was set aside: %+v (error %+v)", res, res.Error)
	}
	if err := r.sim.SetFaults(); err != nil {
		t.Fatal(err)
	}
	for i := 1; i < n; i++ {
		if res := r.result(fmt.Sprint("barred", i)); res.Outcome != entrustbus.OutcomeIssued || res.Submissions != 1 || res.PossibleDuplicate {
			t.Errorf("taken at last: %+v (error %+v)", res, res.Error)
		}
	}
	if res := r.result("barred0"); res.Outcome != entrustbus.OutcomeCancelled {
		t.Errorf("the cancelled one: %+v", res)
	}
	if got := r.enrolled(); got != n {
		t.Errorf("%d enrollments, want %d", got, n)
	}
	r.quiet()
}

// Nothing but its slot brings an order back that was set aside, so the watchdog
// gives it another one: also where a worker died over it.
func TestWatchdogRevivesWhatWasSetAside(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{Faults: []gatewaytest.Fault{barred}})
	r.cfg.Schedule.First, r.cfg.Schedule.Max, r.cfg.Schedule.RetryAfterMax = time.Hour, time.Hour, 0
	l, lot := ledger.New(r.js, r.layout.Orders), parking.New(r.js, r.layout.Parked, r.layout.Subjects())
	for _, id := range []string{"barred-waits", "barred-died"} {
		key := r.park(id)
		if err := lot.Disarm(t.Context(), key, 0); err != nil {
			t.Fatal(err)
		}
		if id == "barred-died" {
			rec, err := l.Get(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			rec.State, rec.Worker, rec.Lease = ledger.Open, "gone", time.Now().Add(-time.Second)
			if err := l.Update(t.Context(), rec); err != nil {
				t.Fatal(err)
			}
		}
		age(t, r, key, 2*time.Minute)
	}
	if err := r.sim.SetFaults(); err != nil {
		t.Fatal(err)
	}
	r.cfg.Schedule.First = 100 * time.Millisecond // of the worker that looks
	if got, err := r.worker().Watch(t.Context()); err != nil || got != (consumer.Repairs{Lost: 2}) {
		t.Fatalf("the watchdog repaired %+v, %v; want two lost slots", got, err)
	}
	r.run()
	for _, id := range []string{"barred-waits", "barred-died"} {
		if res := r.result(id); res.Outcome != entrustbus.OutcomeIssued || res.Submissions != 1 {
			t.Errorf("%s: %+v (error %+v)", id, res, res.Error)
		}
	}
}

// An answer that said something nobody could read was an answer: the order was
// taken, and is not submitted again, however it is looked up meanwhile.
func TestUnreadableAnswerIsNotSubmittedAgain(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{
		Dialect: gatewaytest.CAGW, PendingFraction: 1,
		Faults: []gatewaytest.Fault{{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultGarbage, Times: 1}},
	})
	r.cfg.OnLostReply = consumer.Resubmit
	r.run()
	r.send(&entrustbus.Issue{ID: "g", CSRPEM: csr(t, "g")})
	res := r.result("g")
	if res.Outcome != entrustbus.OutcomeUnconfirmed || res.Submissions != 1 || res.Error.Code != "unreadable_answer" {
		t.Errorf("result is %+v (error %+v)", res, res.Error)
	}
	if n := r.enrolled(); n != 1 {
		t.Errorf("%d enrollments, want 1", n)
	}
	if l := r.wantLetters(deadletter.Unconfirmed)[0]; strings.Contains(l.Error, "a worker ended") {
		t.Errorf("the letter blames a worker that lives: %s", l.Error)
	}
	r.quiet()
}

// The last poll of an order is one that was answered: trouble of the gateway that
// outlasts the deadline expires nothing.
func TestLastPoll(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		fault gatewaytest.Fault
		want  entrustbus.Outcome
	}{
		{"not answered at first", gatewaytest.Fault{Kind: gatewaytest.FaultStatus, Status: 500, Times: 3}, entrustbus.OutcomeIssued},
		{"not asked at first", gatewaytest.Fault{Kind: gatewaytest.FaultStatus, Status: 401, Times: 6}, entrustbus.OutcomeIssued},
		{"never answered", gatewaytest.Fault{Kind: gatewaytest.FaultStatus, Status: 500}, entrustbus.OutcomeExpired},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tc.fault.Op = gatewaytest.OpPoll
			r := setup(t, gatewaytest.Config{PendingFraction: 1, ApproveAfter: time.Millisecond, Faults: []gatewaytest.Fault{tc.fault}})
			r.gwcfg.Dialect = "certctl"
			r.cfg.Schedule.First = time.Second // so that the first poll is the last
			r.run()
			r.send(&entrustbus.Issue{ID: "o", CSRPEM: csr(t, "o"), PollMaxWaitSeconds: 1})
			res := r.result("o")
			if res.Outcome != tc.want || res.TrackingID == "" {
				t.Errorf("result is %+v (error %+v)", res, res.Error)
			}
			r.quiet()
		})
	}
}

// What the gateway refuses to tell of an order that it took is no end that a
// replay may submit after: it asks again.
func TestRefusedPoll(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{
		PendingFraction: 1, ApproveAfter: time.Millisecond,
		Faults: []gatewaytest.Fault{{Op: gatewaytest.OpPoll, Kind: gatewaytest.FaultStatus, Status: 400, Code: "cagw-1", Times: 1}},
	})
	r.run()
	body := &entrustbus.Issue{ID: "o", CSRPEM: csr(t, "o")}
	r.send(body)
	res := r.result("o")
	if res.Outcome != entrustbus.OutcomeUnconfirmed || res.TrackingID == "" || res.Error.HTTPStatus != 400 {
		t.Fatalf("result is %+v (error %+v)", res, res.Error)
	}
	r.wantLetters(deadletter.Unconfirmed)
	r.send(body, nats.MsgIdHdr, entrustbus.RequestMsgID(producer, "o", 1), entrustbus.HeaderReplay, "1")
	if res := r.result("o", 1); res.Outcome != entrustbus.OutcomeIssued || res.PossibleDuplicate {
		t.Errorf("replayed: %+v (error %+v)", res, res.Error)
	}
	if n := r.enrolled(); n != 1 {
		t.Errorf("%d enrollments, want 1", n)
	}
	r.quiet()
}

// A parked order whose request nobody can read any more may be the gateway's.
func TestUnreadableRequest(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{PendingFraction: 1, ApproveAfter: time.Millisecond})
	r.cfg.Schedule.First, r.cfg.Schedule.Max, r.cfg.Schedule.RetryAfterMax, r.cfg.MaxWait = time.Hour, time.Hour, 0, 2*time.Hour
	key := r.park("o")
	ctx := context.Background()
	l, lot := ledger.New(r.js, r.layout.Orders), parking.New(r.js, r.layout.Parked, r.layout.Subjects())
	rec, err := l.Get(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	rec.Request.Body = []byte("{")
	if err := l.Update(ctx, rec); err != nil {
		t.Fatal(err)
	}
	slot, err := lot.Slot(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	slot.Due = time.Now()
	if err := lot.Arm(ctx, slot); err != nil {
		t.Fatal(err)
	}
	r.run()
	if res := r.result("o"); res.Outcome != entrustbus.OutcomeUnconfirmed || res.TrackingID == "" || res.Error.Code != "invalid_request" {
		t.Errorf("result is %+v (error %+v)", res, res.Error)
	}
	r.wantLetters(deadletter.Unconfirmed)
	r.quiet()
}
