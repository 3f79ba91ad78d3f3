package consumer_test

import (
	"bytes"
	"encoding/pem"
	"os"
	"strings"
	"testing"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
)

// A certificateHold is set and lifted again.
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

// The CA decides about a key that the worker cannot verify, unless the worker is configured to
// refuse it. The worker checks the issued certificate by the bytes of the key.
func TestUnverifiedKeys(t *testing.T) {
	t.Parallel()
	for file, kind := range map[string]string{
		"bp256": "EC brainpoolP256r1", "secp256k1": "EC secp256k1", "ed448": "Ed448", "rsapss": "RSASSA-PSS", "mldsa65": "ML-DSA-65",
	} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			request, err := os.ReadFile("../../entrustbus/testdata/others/" + file + ".csr")
			if err != nil {
				t.Fatal(err)
			}
			asked, err := (&entrustbus.Issue{ID: "k", CSRPEM: string(request)}).CSR()
			if err != nil {
				t.Fatal(err)
			}
			for i, dialect := range dialects {
				r := setup(t, gatewaytest.Config{Dialect: dialect, SkipProof: true, Faults: []gatewaytest.Fault{{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultWrongKey, Skip: 1}}})
				r.run()
				r.send(&entrustbus.Issue{ID: "k", CSRPEM: string(request)})
				res := r.result("k")
				block, _ := pem.Decode([]byte(res.CertificatePEM))
				if res.Outcome != entrustbus.OutcomeIssued || block == nil || !bytes.Contains(block.Bytes, asked.Request.RawSubjectPublicKeyInfo) {
					t.Fatalf("%s: %+v (error %+v)", dialect, res, res.Error)
				}
				if n := r.sim.Stats().Requests[gatewaytest.OpEvents]; n != 0 {
					t.Errorf("%s: the answer was not enough: %d look-ups", dialect, n)
				}
				if !strings.Contains(r.log.String(), "cannot verify") || !strings.Contains(r.log.String(), kind) {
					t.Errorf("the log does not say that the worker cannot verify %s", kind)
				}
				r.send(&entrustbus.Issue{ID: "w", CSRPEM: string(request)})
				if res := r.result("w"); res.Outcome != entrustbus.OutcomeFailed || res.Error.Code != "wrong_certificate" {
					t.Errorf("%s: a certificate of another key: %+v (error %+v)", dialect, res, res.Error)
				}
				if i > 0 {
					continue
				}
				r = setup(t, gatewaytest.Config{Dialect: dialect, SkipProof: true})
				r.cfg.RefuseUnverified = true
				r.run()
				r.send(&entrustbus.Issue{ID: "k", CSRPEM: string(request)})
				if res := r.result("k"); res.Outcome != entrustbus.OutcomeFailed || res.Error.Class != entrustbus.ClassValidation || !strings.Contains(res.Error.Message, kind) || r.enrolled() != 0 {
					t.Errorf("refused: %+v (error %+v), %d enrollments", res, res.Error, r.enrolled())
				}
			}
		})
	}
}
