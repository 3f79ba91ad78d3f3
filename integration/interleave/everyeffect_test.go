package interleave

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/testbed/oracle"
)

// run is one life with one blow, and its outcome.
type run struct {
	effects     []string // of the worker with the blow
	report      *oracle.Report
	result      *entrustbus.Result
	enrollments int
}

// play runs a worker through an order with one blow, and lets another worker finish.
func play(t *testing.T, l life, dialect gatewaytest.Dialect, b blow) *run {
	t.Helper()
	r := &run{}
	synctest.Test(t, func(t *testing.T) {
		bub := blowBubble(t, gatewayConfig(dialect), nil)
		orders, err := l.begin(bub, "order")
		if err != nil {
			t.Fatal(err)
		}
		orders[0].Want = []entrustbus.Outcome{l.want}
		first := bub.work(b)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		rest := make(chan struct{})
		go func() {
			defer close(rest)
			if r.report, err = bub.site.Check(ctx, orders); err != nil {
				t.Errorf("judging: %v", err)
			}
		}()
		select {
		case <-first.died:
			first.stop()
			second := bub.work()
			<-rest
			second.stop()
		case <-rest:
			first.stop()
		}
		bub.checkTrail(t)
		r.effects = first.steps
		client, err := bub.site.Client()
		if err != nil {
			t.Fatal(err)
		}
		if r.result, err = client.Lookup(t.Context(), "order"); err != nil {
			t.Fatal(err)
		}
		there, _ := bub.gw.Enrollment(orders[0].KeyHash)
		r.enrollments = there.Count
	})
	return r
}

// A worker dies before and after each effect of every kind of order, and another worker
// finishes. The order ends as without the death. The exception is a death after the
// worker recorded its intent to submit and before it recorded the outcome: then the order
// is indeterminate and is held. In all cases it is enrolled at most once.
func TestDeathAroundEveryEffect(t *testing.T) {
	t.Parallel()
	for _, l := range lives() {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			calm := play(t, l, gatewaytest.CertCtl, blow{})
			check(t, l, calm, l.want)
			for step := range len(calm.effects) {
				for _, after := range []bool{false, true} {
					if !thorough && !after {
						continue // the same state as after the previous effect
					}
					b := blow{Step: step + 1, After: after}
					t.Run(fmt.Sprintf("%s %s", b, calm.effects[step]), func(t *testing.T) {
						t.Parallel()
						r := play(t, l, gatewaytest.CertCtl, b)
						want := l.want
						happened := len(r.effects)
						if !after {
							happened--
						}
						if unknown(calm.effects, happened) {
							want = entrustbus.OutcomeUnconfirmed
						}
						check(t, l, r, want)
					})
				}
			}
		})
	}
}

func check(t *testing.T, l life, r *run, want entrustbus.Outcome) {
	t.Helper()
	for _, f := range r.report.Findings {
		t.Error(f)
	}
	if r.report.StaleLetters > 0 {
		t.Error(r.report.Notes)
	}
	if r.result.Outcome != want {
		t.Errorf("ended as %s, want %s: %v", r.result.Outcome, want, r.result.Error)
	}
	if r.enrollments > 1 || r.enrollments == 1 != l.enrolls && want != entrustbus.OutcomeUnconfirmed {
		t.Errorf("was enrolled %d times", r.enrollments)
	}
	if t.Failed() {
		t.Logf("effects %v", r.effects)
	}
}
