package consumer_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// An order that the gateway did not take, and that waits in a worker's hand, is
// cancelled at once; the worker that has it never calls again.
func TestCancelWhatWasNotTaken(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	var calls atomic.Int32
	var open atomic.Bool
	gw := &enroller{
		enroll: func(context.Context, gateway.Enrollment) (gateway.Answer, error) {
			if calls.Add(1); open.Load() {
				return gateway.Answer{State: gateway.Pending, TrackingID: "T-1", HTTPStatus: 202}, nil
			}
			// Credentials that are refused shut the gate until a probe is answered.
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
	r.eventually("an order that was not taken", func() bool { rec := r.record("o"); return rec != nil && rec.State == ledger.Open && !rec.Posting })
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

// A cancellation whose worker died after it took the order: nobody submits it, and
// the order's own message ends it.
func TestCancelTaken(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	request := &entrustbus.Issue{ID: "o", CSRPEM: csr(t, "o")}
	digest, err := entrustbus.Digest(request)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := entrustbus.EncodeResult(entrustbus.EncodingMsgpack, &entrustbus.Result{
		Version: entrustbus.Version, ID: "o", Producer: producer, Kind: entrustbus.KindIssue, Outcome: entrustbus.OutcomeCancelled,
		RequestedAt: time.Now(), FinishedAt: time.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	rec := &ledger.Record{State: ledger.Open, Kind: entrustbus.KindIssue, Digest: digest[:], Submissions: 1, Answer: answer}
	if err := ledger.New(r.js, r.layout.Orders).Create(t.Context(), ledger.Key{Producer: producer, ID: "o"}, rec); err != nil {
		t.Fatal(err)
	}
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

// What may have been submitted twice says so in later generations too: a cancellation
// of the second submission settles nothing about the first.
func TestReplayKeepsPossibleDuplicate(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	request := &entrustbus.Issue{ID: "o", CSRPEM: csr(t, "o")}
	digest, err := entrustbus.Digest(request)
	if err != nil {
		t.Fatal(err)
	}
	rec := &ledger.Record{
		State: ledger.Closed, Kind: entrustbus.KindIssue, Digest: digest[:], Submissions: 2, PossibleDuplicate: true,
		Outcome: entrustbus.OutcomeCancelled,
	}
	if err := ledger.New(r.js, r.layout.Orders).Create(t.Context(), ledger.Key{Producer: producer, ID: "o"}, rec); err != nil {
		t.Fatal(err)
	}
	r.send(request, entrustbus.HeaderReplay, "1")
	r.run()
	if res := r.result("o", 1); res.Outcome != entrustbus.OutcomeIssued || !res.PossibleDuplicate {
		t.Errorf("result is %+v (error %+v)", res, res.Error)
	}
}

// One order that the gateway does not allow is set aside, and pauses nobody; refused
// credentials pause everybody at the first answer.
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
						return nil // the first one opens the gate
					}
					return probe
				},
			})
			r.send(&entrustbus.Issue{ID: "o", CSRPEM: csr(t, "o")})
			if probe != nil {
				r.eventually("a pause", func() bool { return strings.Contains(r.log.String(), "cannot be used") })
				if n := calls.Load(); n != 1 {
					t.Errorf("%d calls were made before the pause", n)
				}
				return
			}
			r.eventually("an order set aside for the third time", func() bool {
				return strings.Count(r.log.String(), "does not take this order") >= 3
			})
			if strings.Contains(r.log.String(), "cannot be used") {
				t.Error("an order that is not allowed shut the gate for everybody")
			}
		})
	}
}

// A revocation that was set aside often still has all its tries where an answer is
// lost.
func TestRevocationSetAside(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	request := &entrustbus.Revoke{ID: "r", SerialDecimal: "1"}
	digest, err := entrustbus.Digest(request)
	if err != nil {
		t.Fatal(err)
	}
	rec := &ledger.Record{State: ledger.Open, Kind: entrustbus.KindRevoke, Digest: digest[:], Tries: 100}
	if err := ledger.New(r.js, r.layout.Orders).Create(t.Context(), ledger.Key{Producer: producer, ID: "r"}, rec); err != nil {
		t.Fatal(err)
	}
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

// An order that waits is one line, however often it is polled.
func TestParkingIsLoggedOnce(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{PendingFraction: 1})
	r.run()
	r.send(&entrustbus.Issue{ID: "o", CSRPEM: csr(t, "o"), PollMaxWaitSeconds: 2})
	if res := r.result("o"); res.Polls < 3 {
		t.Fatalf("polled %d times", res.Polls)
	}
	if n := strings.Count(r.log.String(), "level=INFO msg=parked"); n != 1 {
		t.Errorf("%d lines say that the order is parked, want 1", n)
	}
}
