package consumer_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/wakeup"
)

// barred refuses orders with that name, as when a client may not use a profile.
var barred = gatewaytest.Fault{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultStatus, Status: http.StatusForbidden, CNPrefix: "barred"}

// Orders that the gateway does not accept although it accepts others occupy neither the lane
// nor the server's pending limit. They are accepted once it does.
func TestUnacceptedWaits(t *testing.T) {
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
	stop() // nothing of it is in this process
	r.send(&entrustbus.Cancel{ID: "stop", Order: "barred0"})
	r.run()
	if res := r.result("stop"); res.Outcome != entrustbus.OutcomeCancelled {
		t.Errorf("cancelling an unaccepted order: %+v (error %+v)", res, res.Error)
	}
	if err := r.sim.SetFaults(); err != nil {
		t.Fatal(err)
	}
	for i := 1; i < n; i++ {
		if res := r.result(fmt.Sprint("barred", i)); res.Outcome != entrustbus.OutcomeIssued || res.Submissions < 2 || res.PossibleDuplicate {
			t.Errorf("accepted at last: %+v (error %+v)", res, res.Error)
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

// A malformed answer means that the order was accepted: it is not submitted again, however it
// is looked up meanwhile.
func TestUnreadableAnswerIsNotSubmittedAgain(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{
		Dialect: gatewaytest.CAGW, PendingFraction: 1,
		Faults: []gatewaytest.Fault{{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultGarbage, Times: 1}},
	})
	r.cfg.OnLostReply = order.Resubmit
	r.run()
	r.send(&entrustbus.Issue{ID: "g", CSRPEM: csr(t, "g")})
	res := r.result("g")
	if res.Outcome != entrustbus.OutcomeUnconfirmed || res.Submissions != 1 || res.Error.Code != "unreadable_answer" {
		t.Errorf("result is %+v (error %+v)", res, res.Error)
	}
	if n := r.enrolled(); n != 1 {
		t.Errorf("%d enrollments, want 1", n)
	}
	if l := r.wantLetters(order.Unconfirmed)[0]; strings.Contains(l.Why, "a worker ended") {
		t.Errorf("the letter blames a worker that lives: %s", l.Why)
	}
	r.quiet()
}

// A malformed certificate does not hide the fields beside it. The order waits under its
// tracking id and is not submitted again, whatever the polls return.
func TestDamagedCertificate(t *testing.T) {
	t.Parallel()
	for _, dialect := range dialects {
		for _, tc := range []struct {
			name string
			op   gatewaytest.Op
			n    int
			wait int64
			want entrustbus.Outcome
		}{
			{"of the enrollment", gatewaytest.OpEnroll, 1, 600, entrustbus.OutcomeIssued},
			{"of some polls", gatewaytest.OpPoll, 2, 600, entrustbus.OutcomeIssued},
			{"of every answer", "", 0, 2, entrustbus.OutcomeExpired},
		} {
			t.Run(string(dialect)+" "+tc.name, func(t *testing.T) {
				t.Parallel()
				cfg := gatewaytest.Config{Dialect: dialect, Faults: []gatewaytest.Fault{{Op: tc.op, Kind: gatewaytest.FaultDamagedCertificate, Times: tc.n}}}
				if tc.op == gatewaytest.OpPoll {
					cfg.PendingFraction, cfg.ApproveAfter = 1, time.Millisecond
				}
				r := setup(t, cfg)
				r.run()
				r.send(&entrustbus.Issue{ID: "d", CSRPEM: csr(t, "d"), PollMaxWaitSeconds: tc.wait})
				res := r.result("d")
				if res.Outcome != tc.want || res.TrackingID == "" || res.Submissions != 1 || res.PossibleDuplicate {
					t.Errorf("result is %+v (error %+v)", res, res.Error)
				}
				if tc.want == entrustbus.OutcomeExpired && (res.Error == nil || !strings.Contains(res.Error.Message, "the answer to the last poll is malformed")) {
					t.Errorf("the error is %+v, want what the answers were", res.Error)
				}
				if n := r.enrolled(); n != 1 {
					t.Errorf("%d enrollments, want 1", n)
				}
				r.quiet()
			})
		}
	}
}

// Only an answered poll is the last poll of an order: an outage beyond the deadline expires
// nothing.
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

// One refused poll ends nothing: the gateway accepted the order before.
func TestRefusedPoll(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{
		PendingFraction: 1, ApproveAfter: time.Millisecond,
		Faults: []gatewaytest.Fault{{Op: gatewaytest.OpPoll, Kind: gatewaytest.FaultStatus, Status: 400, Code: "cagw-1", Times: 2}},
	})
	r.run()
	r.send(&entrustbus.Issue{ID: "o", CSRPEM: csr(t, "o")})
	if res := r.result("o"); res.Outcome != entrustbus.OutcomeIssued || res.Polls != 3 {
		t.Errorf("result is %+v (error %+v)", res, res.Error)
	}
	r.quiet()
}

// A waiting order whose request can no longer be read may be at the gateway.
func TestUnreadableRequest(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{PendingFraction: 1, ApproveAfter: time.Millisecond})
	r.patience()
	key := r.park("o")
	rec := r.record("o")
	broken := *rec.Request
	broken.Body = []byte("{")
	rec.Record.Request = &broken
	r.write("o", rec.Record)
	wake := order.WakeupOf(key, rec.Record, time.Now())
	if err := wakeup.New(r.js, r.layout.Parked, r.layout.Subjects()).Schedule(t.Context(), wake); err != nil {
		t.Fatal(err)
	}
	r.run()
	if res := r.result("o"); res.Outcome != entrustbus.OutcomeUnconfirmed || res.TrackingID == "" || res.Error.Code != "wrong_certificate" && res.Error.Code != order.CodeInvalid {
		t.Errorf("result is %+v (error %+v)", res, res.Error)
	}
	r.wantLetters(order.Unconfirmed)
	r.quiet()
}
