package consumer_test

import (
	"strings"
	"testing"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/order"
)

// When the gateway has no poll path, an approved order is found in the certificate events. An
// order without an approval expires at its deadline with its tracking id. A track request takes
// it over.
func TestPollsByEvents(t *testing.T) {
	t.Parallel()
	for _, mode := range []gateway.PollMode{gateway.PollAuto, gateway.PollEvents} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			r := setup(t, gatewaytest.Config{Dialect: gatewaytest.CAGW, NoPollPath: true, PendingFraction: 1})
			r.gwcfg.Poll = mode
			r.gwcfg.Dialect = gateway.DialectCAGW
			r.run()
			late := csr(t, "late")
			r.send(&entrustbus.Issue{ID: "late", CSRPEM: late, PollMaxWaitSeconds: 2})
			expired := r.result("late")
			if expired.Outcome != entrustbus.OutcomeExpired || expired.TrackingID == "" || expired.Error.Code != "deadline" {
				t.Errorf("without approval: %+v (error %+v)", expired, expired.Error)
			}
			r.send(&entrustbus.Issue{ID: "good", CSRPEM: csr(t, "good")})
			r.send(&entrustbus.Track{ID: "again", TrackingID: expired.TrackingID, CSRPEM: late})
			r.eventually("both orders at the gateway", func() bool { return r.enrolled() == 2 })
			if _, err := r.sim.ApproveAll(0); err != nil {
				t.Fatal(err)
			}
			for _, id := range []string{"good", "again"} {
				if res := r.result(id); res.Outcome != entrustbus.OutcomeIssued || res.TrackingID == "" {
					t.Errorf("%s, approved: %+v (error %+v)", id, res, res.Error)
				}
			}
			r.wantLetters(order.Expired)
			said := strings.Count(r.log.String(), "the gateway has no poll path")
			if want := map[gateway.PollMode]int{gateway.PollAuto: 1}[mode]; said != want {
				t.Errorf("the log named the missing path %d times, want %d", said, want)
			}
			r.quiet()
		})
	}
}

// A poll path that answered before exists: its 404s are an outage, which the order survives.
func TestPollPathThatAnswersIsNotMissing(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{Dialect: gatewaytest.CAGW, PendingFraction: 1})
	r.gwcfg.NotFoundGrace = -1
	r.gwcfg.Dialect = gateway.DialectCAGW
	r.run()
	r.send(&entrustbus.Issue{ID: "o", CSRPEM: csr(t, "o")})
	r.eventually("a poll", func() bool { return r.sim.Stats().Requests[gatewaytest.OpPoll] > 0 })
	if err := r.sim.SetFaults(gatewaytest.Fault{Op: gatewaytest.OpPoll, Kind: gatewaytest.FaultStatus, Status: 404, Times: 3, Form: "spring"}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.sim.ApproveAll(0); err != nil {
		t.Fatal(err)
	}
	if res := r.result("o"); res.Outcome != entrustbus.OutcomeIssued {
		t.Errorf("result is %+v (error %+v)", res, res.Error)
	}
	if n := r.sim.Stats().Requests[gatewaytest.OpEvents]; n != 0 {
		t.Errorf("%d look-ups in the events, want none", n)
	}
	r.quiet()
}
