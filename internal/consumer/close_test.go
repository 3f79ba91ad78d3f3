package consumer_test

import (
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/order"
)

// Nothing waits for the close of an order that is issued at once. Where it was lost, with
// the message acknowledged, the watchdog's wake-up finds the result, and closes the record
// from that: without a call to the gateway.
func TestLostClose(t *testing.T) {
	t.Parallel()
	for _, phase := range []order.Phase{order.Submitting, order.Unaccepted, order.Indeterminate} {
		t.Run(string(phase), func(t *testing.T) {
			t.Parallel()
			r := setup(t, gatewaytest.Config{})
			r.run()
			r.send(&entrustbus.Issue{ID: "one", CSRPEM: csr(t, "issue-one")})
			issued := r.result("one")
			r.quiet()
			lost := r.closed("one").Record
			lost.Phase, lost.Outcome, lost.Serial = phase, "", ""
			lost.Lease = time.Minute
			r.write("one", lost)
			key := order.Key{Producer: producer, ID: "one"}
			r.wake(order.WakeupOf(key, lost, time.Now()))
			r.eventually("closed from its result", func() bool {
				rec := r.record("one")
				return rec.Phase == order.Closed && rec.Serial == issued.Serial
			})
			r.quiet()
			if n := r.enrolled(); n != 1 {
				t.Errorf("enrolled %d times", n)
			}
			r.wantLetters()
		})
	}
}
