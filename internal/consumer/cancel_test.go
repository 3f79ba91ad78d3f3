package consumer_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// A waiting order that the gateway did not accept is cancelled at once, and never submitted
// again.
func TestCancelUnaccepted(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	var calls atomic.Int32
	var open atomic.Bool
	gw := &enroller{
		enroll: func(context.Context, gateway.Enrollment) (gateway.Answer, error) {
			if calls.Add(1); open.Load() {
				return gateway.Answer{State: gateway.Pending, TrackingID: "T-1", HTTPStatus: 202}, nil
			}
			// Refused credentials stop all calls until a probe is answered.
			return gateway.Answer{}, &gateway.Error{Op: gateway.OpEnroll, Fate: gateway.Unauthorized, Class: "auth", HTTPStatus: 401}
		},
		probe: func() error {
			if calls.Load() > 0 && !open.Load() {
				return &gateway.Error{Op: gateway.OpProbe, Fate: gateway.Unauthorized, Class: "auth", HTTPStatus: 401}
			}
			return nil
		},
	}
	r.runWith(gw)
	r.sendAs(entrustbus.EncodingJSON, &entrustbus.Issue{ID: "o", CSRPEM: csr(t, "o"), Labels: map[string]string{"team": "pki"}})
	r.eventually("an unaccepted order", func() bool { return r.record("o").Phase == order.Unaccepted })
	r.send(&entrustbus.Cancel{ID: "c", Order: "o"})
	if res := r.result("c"); res.Outcome != entrustbus.OutcomeCancelled {
		t.Errorf("the cancellation: %+v (error %+v)", res, res.Error)
	}
	if res := r.result("o"); res.Outcome != entrustbus.OutcomeCancelled || res.Labels["team"] != "pki" {
		t.Errorf("the order: %+v (error %+v)", res, res.Error)
	}
	m, err := streams.Last(t.Context(), r.js, r.layout.Results, r.layout.Subjects().Result(producer, "o"))
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Header.Get(entrustbus.HeaderContentType); got != entrustbus.EncodingJSON.ContentType() {
		t.Errorf("the order's result is %s, and its request was JSON", got)
	}
	open.Store(true)
	r.quiet()
	if n := calls.Load(); n != 1 {
		t.Errorf("%d calls were made for an order that was cancelled after the first", n)
	}
	if n := r.count(r.layout.Results); n != 2 {
		t.Errorf("%d results, want 2", n)
	}
}

// A cancellation whose worker died after it wrote the order's end: no worker submits the order,
// and the order's own message ends it.
func TestCancelConcluded(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	request := &entrustbus.Issue{ID: "o", CSRPEM: csr(t, "o")}
	digest, err := entrustbus.Digest(request)
	if err != nil {
		t.Fatal(err)
	}
	r.write("o", order.Record{
		Phase: order.Concluded, Kind: entrustbus.KindIssue, Digest: digest[:], Submissions: 1,
		Conclusion: &order.Conclusion{Result: &entrustbus.Result{
			Version: entrustbus.Version, ID: "o", Producer: producer, Kind: entrustbus.KindIssue, Outcome: entrustbus.OutcomeCancelled,
			RequestedAt: time.Now(), FinishedAt: time.Now(),
		}},
	})
	r.send(&entrustbus.Cancel{ID: "c", Order: "o"})
	r.send(request)
	r.run()
	for _, id := range []string{"o", "c"} {
		if res := r.result(id); res.Outcome != entrustbus.OutcomeCancelled {
			t.Errorf("%s: %+v (error %+v)", id, res, res.Error)
		}
	}
	if n := r.enrolled(); n != 0 {
		t.Errorf("%d enrollments of a cancelled order", n)
	}
}

// A possible duplicate is flagged in later generations too: a cancellation of the second
// submission decides nothing about the first.
func TestReplayKeepsPossibleDuplicate(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	request := &entrustbus.Issue{ID: "o", CSRPEM: csr(t, "o")}
	digest, err := entrustbus.Digest(request)
	if err != nil {
		t.Fatal(err)
	}
	r.write("o", order.Record{
		Phase: order.Closed, Kind: entrustbus.KindIssue, Digest: digest[:], Submissions: 2, PossibleDuplicate: true,
		Outcome: entrustbus.OutcomeCancelled,
	})
	r.send(request, entrustbus.HeaderReplay, "1")
	r.run()
	if res := r.result("o", 1); res.Outcome != entrustbus.OutcomeIssued || !res.PossibleDuplicate {
		t.Errorf("result is %+v (error %+v)", res, res.Error)
	}
}

// An order that the gateway forbids waits alone. Refused credentials stop all calls at the
// first answer.
func TestForbidden(t *testing.T) {
	t.Parallel()
	for name, probe := range map[string]error{
		"one order": nil,
		"us":        &gateway.Error{Op: gateway.OpProbe, Fate: gateway.Unauthorized, Class: "auth", HTTPStatus: 403},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := setup(t, gatewaytest.Config{})
			var calls atomic.Int32
			r.runWith(&enroller{
				enroll: func(context.Context, gateway.Enrollment) (gateway.Answer, error) {
					calls.Add(1)
					return gateway.Answer{}, &gateway.Error{Op: gateway.OpEnroll, Fate: gateway.Unauthorized, Class: "auth", HTTPStatus: 403}
				},
				probe: func() error {
					if calls.Load() == 0 {
						return nil // the first one lets calls through
					}
					return probe
				},
			})
			r.send(&entrustbus.Issue{ID: "o", CSRPEM: csr(t, "o")})
			if probe != nil {
				r.eventually("a pause", func() bool { return strings.Contains(r.log.String(), "requests wait") })
				if n := calls.Load(); n != 1 {
					t.Errorf("%d calls were made before the pause", n)
				}
				return
			}
			r.eventually("an order that was not accepted for the third time", func() bool {
				return strings.Count(r.log.String(), "did not accept the order") >= 3
			})
			if strings.Contains(r.log.String(), "requests wait") {
				t.Error("an order that is not allowed stopped the calls of other orders")
			}
		})
	}
}

// The gateway forbids a poll and answers other calls: the poll counts as refused. Its order
// ends at the deadline and does not wait for ever.
func TestForbiddenPoll(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	r.runWith(&enroller{
		enroll: func(context.Context, gateway.Enrollment) (gateway.Answer, error) {
			return gateway.Answer{State: gateway.Pending, TrackingID: "T-1", HTTPStatus: 202}, nil
		},
		poll: func() (gateway.Answer, error) {
			return gateway.Answer{}, &gateway.Error{Op: gateway.OpPoll, Fate: gateway.Unauthorized, Class: "auth", HTTPStatus: 403, Message: "no right"}
		},
	})
	r.send(&entrustbus.Issue{ID: "o", CSRPEM: csr(t, "o"), PollMaxWaitSeconds: 1})
	if res := r.result("o"); res.Outcome != entrustbus.OutcomeExpired || res.TrackingID != "T-1" {
		t.Errorf("result is %+v (error %+v)", res, res.Error)
	}
	if strings.Contains(r.log.String(), "requests wait") {
		t.Error("a poll that is not allowed stopped the calls of other orders")
	}
}

// A burst of forbidden calls costs a few probes, not one each.
func TestForbiddenBurst(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	const n = 32
	var calls, probes atomic.Int32
	all := make(chan struct{})
	r.runWith(&enroller{
		enroll: func(context.Context, gateway.Enrollment) (gateway.Answer, error) {
			switch c := calls.Add(1); {
			case c == n:
				close(all)
			case c > n:
				return gateway.Answer{State: gateway.Pending, TrackingID: "T-1", HTTPStatus: 202}, nil
			}
			<-all
			return gateway.Answer{}, &gateway.Error{Op: gateway.OpEnroll, Fate: gateway.Unauthorized, Class: "auth", HTTPStatus: 403}
		},
		probe: func() error {
			probes.Add(1)
			time.Sleep(50 * time.Millisecond)
			return nil
		},
	})
	for i := range n {
		id := fmt.Sprint("o", i)
		r.send(&entrustbus.Issue{ID: id, CSRPEM: csr(t, id)})
	}
	r.eventually("orders that were not accepted", func() bool {
		return strings.Count(r.log.String(), "did not accept the order") >= n
	})
	if got := probes.Load(); got > n/4 {
		t.Errorf("%d probes for %d answers", got, n)
	}
}

// A revocation that was refused often still has all its tries when an answer is lost.
func TestRevocationUnacceptedOften(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	request := &entrustbus.Revoke{ID: "r", SerialDecimal: "1"}
	digest, err := entrustbus.Digest(request)
	if err != nil {
		t.Fatal(err)
	}
	r.write("r", order.Record{Phase: order.Unaccepted, Kind: entrustbus.KindRevoke, Digest: digest[:], Tries: 30})
	r.send(request)
	lost := false
	r.runWith(&enroller{revoke: func() error {
		if lost {
			return nil
		}
		lost = true
		return &gateway.Error{Op: gateway.OpRevoke, Fate: gateway.Unknown, Class: "timeout", Message: "lost"}
	}})
	if res := r.result("r"); res.Outcome != entrustbus.OutcomeRevoked {
		t.Errorf("result is %+v (error %+v)", res, res.Error)
	}
}

// A waiting order is one log line, however often it is polled.
func TestParkingIsLoggedOnce(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{PendingFraction: 1})
	r.run()
	r.send(&entrustbus.Issue{ID: "o", CSRPEM: csr(t, "o"), PollMaxWaitSeconds: 2})
	if res := r.result("o"); res.Polls < 3 {
		t.Fatalf("polled %d times", res.Polls)
	}
	if n := strings.Count(r.log.String(), `level=INFO msg="waiting for approval"`); n != 1 {
		t.Errorf("%d lines say that the order is parked, want 1", n)
	}
}
