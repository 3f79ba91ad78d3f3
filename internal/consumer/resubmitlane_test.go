package consumer_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
)

// Orders of a CA that answers 503 wait in a lane of their own. However many they are, they
// delay no poll of another CA's orders.
func TestUnavailableCADelaysNoPoll(t *testing.T) {
	t.Parallel()
	const n = 300
	r := setup(t, gatewaytest.Config{
		CAIDs: []string{"good", "down"}, PendingFraction: 1,
		Faults: []gatewaytest.Fault{{Op: gatewaytest.OpEnroll, CA: "down", Kind: gatewaytest.FaultStatus, Status: http.StatusServiceUnavailable}},
	})
	r.cfg.Poll, r.cfg.Issue = 2, 8
	r.run()
	request := csr(t, "down")
	for i := range n {
		r.send(&entrustbus.Issue{ID: fmt.Sprint("d", i), CSRPEM: request, CAID: "down"})
	}
	for i := range 3 {
		id := fmt.Sprint("g", i)
		r.send(&entrustbus.Issue{ID: id, CSRPEM: csr(t, id)})
	}
	r.eventually("the good CA's orders", func() bool { return r.enrolled() == 3 })
	approved := time.Now()
	if _, err := r.sim.ApproveAll(0); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		res := r.result(fmt.Sprint("g", i))
		if res.Outcome != entrustbus.OutcomeIssued {
			t.Errorf("result is %+v (error %+v)", res, res.Error)
		}
		// A poll is due every second. If the wake-ups took the slots, it would come after all
		// of them.
		if late := res.FinishedAt.Sub(approved); late > 10*time.Second {
			t.Errorf("issued %s after its approval", late)
		}
	}
	if r.enrolled() != 3 {
		t.Error("the CA that is down took orders")
	}
}
