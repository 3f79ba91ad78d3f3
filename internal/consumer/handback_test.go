package consumer_test

import (
	"fmt"
	"testing"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// delivered is how many messages the server has delivered to the lane of issues, including
// repeated deliveries.
func (r *rig) delivered() uint64 {
	r.t.Helper()
	c, err := r.js.Consumer(r.t.Context(), r.layout.Requests, streams.ConsumerIssue)
	if err != nil {
		r.t.Fatal(err)
	}
	return c.CachedInfo().Delivered.Consumer
}

// A worker that stops takes a message at most once more, and hands it back at once and once.
// The message must not go to its own pull, which would deliver it as often as it has room.
func TestStopHandsBackOnce(t *testing.T) {
	t.Parallel()
	const n = 20
	for _, workers := range []int{1, 2} {
		t.Run(fmt.Sprint(workers, " workers"), func(t *testing.T) {
			t.Parallel()
			r := setup(t, gatewaytest.Config{})
			stop := r.run()
			r.eventually("the pull", func() bool {
				c, err := r.js.Consumer(t.Context(), r.layout.Requests, streams.ConsumerIssue)
				return err == nil && c.CachedInfo().NumWaiting > 0
			})
			if workers == 2 {
				r.run()
			}
			stopped := make(chan struct{})
			go func() { defer close(stopped); stop() }()
			for i := range n { // some while the worker stops, the others after that
				r.send(&entrustbus.Issue{ID: fmt.Sprint("o", i), CSRPEM: csr(t, fmt.Sprint("o", i))})
			}
			<-stopped
			took := uint64(0)
			if workers == 1 {
				took = r.delivered() // each at most once: none returns to the pull that had it
				if took > n {
					t.Errorf("the worker that stopped was given %d messages %d times", n, took)
				}
				r.run()
			}
			for i := range n {
				if res := r.result(fmt.Sprint("o", i)); res.Outcome != entrustbus.OutcomeIssued {
					t.Errorf("result is %+v", res)
				}
			}
			if got := r.delivered(); got > 2*n {
				t.Errorf("%d messages were delivered %d times", n, got)
			}
			if e := r.enrolled(); e != n {
				t.Errorf("%d enrollments, want %d", e, n)
			}
		})
	}
}
