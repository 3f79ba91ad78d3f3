package consumer_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/policy"
)

// rules are the rules of the tests' producer for names that csr makes below one name.
func rules(t *testing.T, suffix, more string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse([]byte("producers:\n  " + producer + ":\n    kinds: [issue]\n    names: {dns: {suffixes: [" + suffix + ", " + suffix + ".example.net]}}\n" + more))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A refusal is a result and a dead letter, and the gateway never gets the request.
func TestPolicyRefuses(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	p := rules(t, "good", "")
	r.cfg.Policy = func() *policy.Policy { return p }
	r.run()
	r.send(&entrustbus.Issue{ID: "evil", CSRPEM: csr(t, "evil")})
	r.send(&entrustbus.Issue{ID: "sans", CSRPEM: csr(t, "a.good"), SANs: []string{"a.good", "evil"}})
	r.send(&entrustbus.Revoke{ID: "revoke", Serial: "0a"})
	r.send(&entrustbus.Track{ID: "track", TrackingID: "t"})
	r.send(&entrustbus.Cancel{ID: "cancel", Order: "evil"})
	for id, rule := range map[string]string{"evil": "names.dns", "sans": "names.dns", "revoke": "kinds", "track": "kinds", "cancel": "kinds"} {
		res := r.result(id)
		if res.Outcome != entrustbus.OutcomeRejected || res.Submissions != 0 || res.Error == nil || res.Error.Class != entrustbus.ClassPolicy ||
			res.Error.Code != order.CodeDenied || !strings.Contains(res.Error.Message, "(rule "+rule+")") {
			t.Errorf("%s: result is %+v (error %+v), want a refusal by %s", id, res, res.Error, rule)
		}
	}
	r.wantLetters(order.Denied, order.Denied, order.Denied, order.Denied, order.Denied)
	if n := r.enrolled(); n != 0 {
		t.Errorf("%d enrollments of what the policy refuses", n)
	}
	r.send(&entrustbus.Issue{ID: "good", CSRPEM: csr(t, "a.good")})
	if res := r.result("good"); res.Outcome != entrustbus.OutcomeIssued {
		t.Errorf("result is %+v (error %+v)", res, res.Error)
	}
	digest := p.Digest()
	if got := r.record("good").PolicyDigest; string(got) != string(digest[:]) {
		t.Errorf("the record names the policy %x, want %x", got, digest)
	}
	r.quiet()
}

// A changed policy is asked again before a resubmission, and not about an order that waits for
// approval.
func TestPolicyChanges(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{PendingFraction: 1, Faults: []gatewaytest.Fault{barred}})
	r.cfg.Schedule.Max = time.Second
	var p atomic.Pointer[policy.Policy]
	p.Store(rules(t, "good", ""))
	r.cfg.Policy = p.Load
	r.run()
	r.send(&entrustbus.Issue{ID: "barred", CSRPEM: csr(t, "barred.good")})
	r.send(&entrustbus.Issue{ID: "parked", CSRPEM: csr(t, "b.good")})
	r.eventually("one that is not accepted, and one that is", func() bool {
		return r.record("barred").Phase == order.Unaccepted && r.record("parked").Phase == order.Awaiting
	})
	p.Store(rules(t, "other", ""))
	res := r.result("barred")
	if res.Outcome != entrustbus.OutcomeRejected || res.Error.Code != order.CodeDenied {
		t.Errorf("result is %+v (error %+v)", res, res.Error)
	}
	r.wantLetters(order.Denied)
	if _, err := r.sim.ApproveAll(0); err != nil {
		t.Fatal(err)
	}
	if res := r.result("parked"); res.Outcome != entrustbus.OutcomeIssued {
		t.Errorf("what waited for approval: %+v (error %+v)", res, res.Error)
	}
	r.quiet()
}

// A validity that is too long is cut, and the result says so.
func TestPolicyCutsTheValidity(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{Dialect: gatewaytest.CAGW})
	p := rules(t, "good", "    max_validity: 10d\n    longer_validity: cut\n")
	r.cfg.Policy = func() *policy.Policy { return p }
	r.run()
	r.send(&entrustbus.Issue{ID: "long", CSRPEM: csr(t, "a.good"), ValiditySeconds: 20 * 24 * 3600})
	res := r.result("long")
	if res.Outcome != entrustbus.OutcomeIssued || len(res.Warnings) != 1 || !strings.Contains(res.Warnings[0], "from 1728000 to 864000") {
		t.Fatalf("result is %+v (error %+v), warnings %q", res, res.Error, res.Warnings)
	}
	if got := res.NotAfter.Sub(res.NotBefore); got > 10*24*time.Hour+time.Hour {
		t.Errorf("the certificate is valid for %s", got)
	}
}

// A cap on the validity is requested, and the certificate is checked against it. The policy
// lowers a cap that exceeds its own.
func TestCapOfTheValidity(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{Dialect: gatewaytest.CAGW})
	p := rules(t, "good", "    max_validity: 10d\n")
	r.cfg.Policy = func() *policy.Policy { return p }
	r.run()
	for id, want := range map[string]time.Duration{"five": 5 * 24 * time.Hour, "twenty": 10 * 24 * time.Hour} {
		most := map[string]int64{"five": 5 * 86400, "twenty": 20 * 86400}[id]
		r.send(&entrustbus.Issue{ID: id, CSRPEM: csr(t, "a.good"), MaxValiditySeconds: most})
		res := r.result(id)
		if res.Outcome != entrustbus.OutcomeIssued || res.NotAfter.Sub(res.NotBefore) != want {
			t.Errorf("%s: result is %+v (error %+v)", id, res, res.Error)
		}
		if cut := len(res.Warnings) == 1 && strings.Contains(res.Warnings[0], "max_validity_seconds: cut by the policy from 1728000 to 864000"); cut != (id == "twenty") {
			t.Errorf("%s: warnings %q", id, res.Warnings)
		}
	}
}

// A certificate that is valid for longer than the cap is not handed out: the certctl dialect
// cannot request less. Once the profile is known, the next request is refused before a call.
func TestCapInTheCertctlDialect(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	r.run()
	r.send(&entrustbus.Issue{ID: "first", CSRPEM: csr(t, "first"), MaxValiditySeconds: 5 * 86400})
	if res := r.result("first"); res.Outcome != entrustbus.OutcomeFailed || res.Error.Code != "wrong_certificate" || res.Serial == "" || res.CertificatePEM != "" {
		t.Errorf("result is %+v (error %+v)", res, res.Error)
	}
	r.send(&entrustbus.Issue{ID: "second", CSRPEM: csr(t, "second"), MaxValiditySeconds: 5 * 86400})
	if res := r.result("second"); res.Outcome != entrustbus.OutcomeFailed || res.Error.Class != entrustbus.ClassValidation || !strings.Contains(res.Error.Message, "max_validity_seconds") {
		t.Errorf("result is %+v (error %+v)", res, res.Error)
	}
	if got := r.enrolled(); got != 1 {
		t.Errorf("%d enrollments, want 1", got)
	}
}

// A request beyond a producer's requests a minute waits for its turn, and is submitted once.
func TestPolicyHasRequestsWaitForTheirTurn(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	p := rules(t, "good", "    requests_per_minute: 40\n")
	r.cfg.Policy = func() *policy.Policy { return p }
	const n = 43 // 40 at once, the others 1.5 s, 3 s and 4.5 s later
	for i := range n {
		r.send(&entrustbus.Issue{ID: fmt.Sprint("o", i), CSRPEM: csr(t, "a.good")})
	}
	begun := time.Now() // all requests are stored
	r.run()
	waited := 0
	for i := range n {
		res := r.result(fmt.Sprint("o", i))
		if res.Outcome != entrustbus.OutcomeIssued || res.Submissions != 1 || res.PossibleDuplicate {
			t.Errorf("result is %+v (error %+v)", res, res.Error)
		}
		if res.SubmittedAt.Sub(begun) > 1200*time.Millisecond {
			waited++
		}
	}
	if waited == 0 {
		t.Error("no order waited for its turn")
	}
	if got := r.enrolled(); got != n {
		t.Errorf("%d enrollments, want %d", got, n)
	}
	r.quiet()
}
