package consumer_test

import (
	"os"
	"strings"
	"testing"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
)

// A hold is set and lifted again.
func TestHoldIsLifted(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{Dialect: gatewaytest.CAGW})
	r.run()
	r.send(&entrustbus.Issue{ID: "c", CSRPEM: csr(t, "c")})
	serial := r.result("c").Serial
	for _, step := range []struct{ id, reason, standing string }{
		{"hold", "certificateHold", "held"}, {"lift", entrustbus.ReasonRemoveFromCRL, "normal"}, {"revoke", "superseded", "revoked"},
	} {
		r.send(&entrustbus.Revoke{ID: step.id, Serial: serial, Reason: step.reason, IssueCRL: true})
		if res := r.result(step.id); res.Outcome != entrustbus.OutcomeRevoked {
			t.Fatalf("%s: %+v (error %+v)", step.id, res, res.Error)
		}
		if all := r.sim.Revocations(); len(all) != 1 || all[0].Standing != step.standing {
			t.Errorf("%s: %+v, want %s", step.id, all, step.standing)
		}
	}
	r.send(&entrustbus.Revoke{ID: "late", Serial: serial, Reason: entrustbus.ReasonRemoveFromCRL})
	if res := r.result("late"); res.Outcome != entrustbus.OutcomeFailed {
		t.Errorf("a revoked certificate was lifted: %+v", res)
	}
}

// A key that the worker cannot verify is the CA's to judge, unless it is told to refuse it.
func TestUnverifiedKeys(t *testing.T) {
	t.Parallel()
	request, err := os.ReadFile("../../entrustbus/testdata/others/secp256k1.csr")
	if err != nil {
		t.Fatal(err)
	}
	for _, refuse := range []bool{false, true} {
		r := setup(t, gatewaytest.Config{})
		r.cfg.RefuseUnverified = refuse
		r.run()
		r.send(&entrustbus.Issue{ID: "k", CSRPEM: string(request)})
		res := r.result("k")
		// The simulator refuses keys that it does not know in words of its own.
		if fromCA := strings.Contains(res.Error.Message, "CSR is not a PKCS#10 request"); res.Outcome != entrustbus.OutcomeFailed || fromCA == refuse {
			t.Errorf("refuse %v: %+v (error %+v)", refuse, res, res.Error)
		}
		if logged := strings.Contains(r.log.String(), "cannot verify"); logged == refuse {
			t.Errorf("refuse %v: logged %v", refuse, logged)
		}
	}
}
