package consumer_test

import (
	"fmt"
	"testing"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
)

// Refusals of every poll are an outage: they end none of the waiting orders, whatever the kind
// of refusal.
func TestBurstOfRefusedPolls(t *testing.T) {
	t.Parallel()
	for _, status := range []int{200, 400, 404, 409, 410, 422, 501} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			const n = 4
			burst := gatewaytest.Fault{Op: gatewaytest.OpPoll, Kind: gatewaytest.FaultStatus, Status: status, Code: "cagw-1", PerOrder: 1}
			r := setup(t, gatewaytest.Config{PendingFraction: 1, Faults: []gatewaytest.Fault{burst}})
			r.gwcfg.NotFoundGrace = -1
			r.run()
			for i := range n {
				id := fmt.Sprint("o", i)
				r.send(&entrustbus.Issue{ID: id, CSRPEM: csr(t, id)})
			}
			r.eventually("a refused poll of each order", func() bool { return r.sim.Faults()[0].Fired >= n })
			if _, err := r.sim.ApproveAll(0); err != nil {
				t.Fatal(err)
			}
			for i := range n {
				if res := r.result(fmt.Sprint("o", i)); res.Outcome != entrustbus.OutcomeIssued {
					t.Errorf("result is %+v (error %+v)", res, res.Error)
				}
			}
			r.quiet()
		})
	}
}
