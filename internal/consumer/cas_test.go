package consumer_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
)

// A request may name a CA that the gateway lists. A request with another CA is refused before a
// call. However many CAs a producer invents, the list is read for them once.
func TestUnlistedCA(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{Dialect: gatewaytest.CAGW, CAIDs: []string{"sim~issuing", "sim~second"}})
	r.run()
	r.send(&entrustbus.Issue{ID: "second", CAID: "sim~second", CSRPEM: csr(t, "second")})
	if res := r.result("second"); res.Outcome != entrustbus.OutcomeIssued || res.CAID != "sim~second" {
		t.Errorf("result is %+v (error %+v)", res, res.Error)
	}
	before := r.sim.Stats()
	const n = 20
	for i := range n {
		id := fmt.Sprint("o", i)
		r.send(&entrustbus.Issue{ID: id, CAID: id, CSRPEM: csr(t, id)})
	}
	for i := range n {
		res := r.result(fmt.Sprint("o", i))
		if res.Outcome != entrustbus.OutcomeFailed || res.Error.Class != entrustbus.ClassValidation || !strings.HasPrefix(res.Error.Message, "ca_id: is not a CA that the gateway lists") {
			t.Errorf("result is %+v (error %+v)", res, res.Error)
		}
	}
	after := r.sim.Stats()
	if got := after.Requests[gatewaytest.OpEnroll] - before.Requests[gatewaytest.OpEnroll]; got != 0 {
		t.Errorf("%d enrollments were sent to CAs that the gateway does not list", got)
	}
	if got := after.Requests[gatewaytest.OpCA] - before.Requests[gatewaytest.OpCA]; got > 1 {
		t.Errorf("the gateway was asked about its CAs %d times for %d requests, want once a minute", got, n)
	}
	r.quiet()
}

// Without a list of CAs no request is refused: the gateway itself refuses an unknown CA.
func TestUnreadableListOfCAs(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{Dialect: gatewaytest.CertCtl, CAIDs: []string{"sim~issuing", "sim~second"}})
	r.run()
	for id, want := range map[string]entrustbus.Outcome{"second": entrustbus.OutcomeIssued, "nowhere": entrustbus.OutcomeFailed} {
		r.send(&entrustbus.Issue{ID: id, CAID: "sim~" + id, CSRPEM: csr(t, id)})
		if res := r.result(id); res.Outcome != want {
			t.Errorf("result is %+v (error %+v)", res, res.Error)
		}
	}
	if got := r.sim.Stats().Requests[gatewaytest.OpEnroll]; got != 2 {
		t.Errorf("%d enrollments were sent, want 2", got)
	}
	r.quiet()
}
