package consumer_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/order"
)

// certificateFor is a certificate for the key of a certificate request, of another CA than the
// gateway's.
func certificateFor(t *testing.T, request string, names ...string) string {
	t.Helper()
	block, _ := pem.Decode([]byte(request))
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(0x5f3a), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(24 * time.Hour),
	}, &x509.Certificate{Subject: pkix.Name{CommonName: "another CA"}}, csr.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// byHand publishes an operator's request about a closed order.
func (r *rig) byHand(req entrustbus.Request, target string, generation int) {
	r.t.Helper()
	r.closed(target)
	r.send(req, entrustbus.HeaderReplay, fmt.Sprint(generation), order.HeaderOperator, "ada@ops", order.HeaderReason, "by phone")
}

// refused waits for the dead letter of an operator's request, and returns why it was refused.
func (r *rig) refused(id string) string {
	r.t.Helper()
	var found *deadletter.Letter
	r.eventually("a dead letter of "+id, func() bool {
		for _, l := range r.letters() {
			if strings.Contains(string(l.Request.Body), id) {
				found = l
			}
		}
		return found != nil
	})
	if found.Reason != order.Invalid {
		r.t.Errorf("the letter of %s has the reason %s", id, found.Reason)
	}
	return found.Why
}

// An operator completes an expired order, once, and only with the certificate for it.
func TestComplete(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{PendingFraction: 1})
	r.run()
	request := csr(t, "o")
	r.sendAs(entrustbus.EncodingJSON, &entrustbus.Issue{ID: "o", CSRPEM: request, PollMaxWaitSeconds: 1, Labels: map[string]string{"team": "pki"}},
		entrustbus.HeaderTraceParent, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	if res := r.result("o"); res.Outcome != entrustbus.OutcomeExpired {
		t.Fatalf("result is %+v", res)
	}
	for id, row := range map[string]struct {
		cert string
		want string
	}{
		"other-key":   {certificateFor(t, csr(t, "o"), "o", "o.example.net"), "certificate_pem: the public key is not the one in the CSR"},
		"other-names": {certificateFor(t, request, "x.example"), `certificate_pem: the requested dNSName "o.example.net" is not in it`},
	} {
		r.byHand(&entrustbus.Complete{ID: id, Order: "o", CertificatePEM: row.cert}, "o", 1)
		if why := r.refused(id); !strings.Contains(strings.ToLower(why), strings.ToLower(row.want)) {
			t.Errorf("%s: refused as %q, want %q", id, why, row.want)
		}
	}
	good := certificateFor(t, request, "o", "o.example.net")
	r.send(&entrustbus.Complete{ID: "no-generation", Order: "o", CertificatePEM: good}, entrustbus.HeaderReplay, "0")
	if why := r.refused("no-generation"); !strings.Contains(why, "Entrust-Replay") {
		t.Errorf("without a generation: refused as %q", why)
	}
	r.byHand(&entrustbus.Complete{ID: "too-far", Order: "o", CertificatePEM: good}, "o", 2)
	if why := r.refused("too-far"); !strings.Contains(why, "generation 1 follows 0") {
		t.Errorf("a generation too far: refused as %q", why)
	}
	if rec := r.record("o"); rec.Generation != 0 || rec.Outcome != entrustbus.OutcomeExpired {
		t.Errorf("refused completions left %+v", rec.Record)
	}

	for range 2 { // the second one is ignored
		r.byHand(&entrustbus.Complete{ID: "good", Order: "o", CertificatePEM: good}, "o", 1)
		res := r.result("o", 1)
		if res.Outcome != entrustbus.OutcomeIssued || res.CertificatePEM != good || res.Serial != "5f3a" || res.Replay != 1 || res.Labels["team"] != "pki" {
			t.Errorf("result is %+v (error %+v)", res, res.Error)
		}
		if len(res.Warnings) != 1 || !strings.HasPrefix(res.Warnings[0], "chain_pem: left out") || res.ChainPEM != "" {
			t.Errorf("warnings %q, chain %q", res.Warnings, res.ChainPEM)
		}
	}
	r.quiet()
	if n := r.count(r.layout.Results); n != 2 {
		t.Errorf("%d results, want that of the expiry and that of the completion", n)
	}
	if n := r.enrolled(); n != 1 {
		t.Errorf("%d enrollments, want 1", n)
	}
	r.byHand(&entrustbus.Complete{ID: "late", Order: "o", CertificatePEM: good}, "o", 2)
	if why := r.refused("late"); !strings.Contains(why, "already-issued") {
		t.Errorf("an issued order: refused as %q", why)
	}
}

// A certificate that the bus holds no request for is not published as issued.
func TestCompleteWithoutTheRequest(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{PendingFraction: 1})
	r.run()
	request := csr(t, "o")
	r.send(&entrustbus.Issue{ID: "o", CSRPEM: request, PollMaxWaitSeconds: 1})
	r.result("o")
	purge := deadletter.New(r.js, r.layout.Dead, r.layout.Subjects())
	if n, err := purge.Purge(t.Context(), 1); err != nil || n != 1 {
		t.Fatalf("purged %d, %v", n, err)
	}
	good := certificateFor(t, request, "o", "o.example.net")
	r.byHand(&entrustbus.Complete{ID: "no-letter", Order: "o", CertificatePEM: good}, "o", 1)
	if why := r.refused("no-letter"); why != "certificate_pem: no dead letter holds the order's request" {
		t.Errorf("refused as %q", why)
	}
	r.send(&entrustbus.Revoke{ID: "r", Serial: "1"})
	r.result("r")
	r.byHand(&entrustbus.Complete{ID: "of-a-revocation", Order: "r", CertificatePEM: good}, "r", 1)
	if why := r.refused("of-a-revocation"); why != "order: is a revoke request; name an issue or track request" {
		t.Errorf("refused as %q", why)
	}
	r.send(&entrustbus.Complete{ID: "nobody", Order: "unknown", CertificatePEM: good}, entrustbus.HeaderReplay, "1")
	if why := r.refused("nobody"); why != "order: no order of this id is known" {
		t.Errorf("refused as %q", why)
	}
}

// An operator resolves an unconfirmed order. A replay after it is not flagged.
func TestResolve(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{Dialect: gatewaytest.CertCtl, Faults: []gatewaytest.Fault{{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultLostReply, Times: 1}}})
	r.run()
	req := &entrustbus.Issue{ID: "o", CSRPEM: csr(t, "o"), Labels: map[string]string{"team": "pki"}}
	r.send(req)
	if res := r.result("o"); res.Outcome != entrustbus.OutcomeUnconfirmed {
		t.Fatalf("result is %+v (error %+v)", res, res.Error)
	}
	r.byHand(&entrustbus.Resolve{ID: "s", Order: "o", Comment: "not in the CA's database"}, "o", 1)
	res := r.result("o", 1)
	if res.Outcome != entrustbus.OutcomeFailed || res.Error == nil || res.Error.Code != "resolved" || res.PossibleDuplicate || res.Labels["team"] != "pki" {
		t.Errorf("result is %+v (error %+v)", res, res.Error)
	}
	r.replay(req, 2)
	if res := r.result("o", 2); res.Outcome != entrustbus.OutcomeIssued || res.PossibleDuplicate {
		t.Errorf("replayed: %+v (error %+v)", res, res.Error)
	}
}

// A completion that crashed workers ends as a dead letter, and its order stays unchanged.
func TestCompleteThatCrashes(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	r.send(&entrustbus.Resolve{ID: "s", Order: "o"}, entrustbus.HeaderReplay, "1", entrustbus.HeaderOrderID, "s")
	r.deliver("worker-manage", 3)
	r.crashed(1, 3)
	r.run()
	r.wantLetters(order.Crashed)
	if n := r.count(r.layout.Results); n != 0 {
		t.Errorf("%d results, want none", n)
	}
}

// A certificate of the gateway's own CA gets its chain.
func TestCompleteWithChain(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{Dialect: gatewaytest.CAGW, PendingFraction: 1})
	r.run()
	r.send(&entrustbus.Issue{ID: "o", CSRPEM: csr(t, "o"), PollMaxWaitSeconds: 1})
	expired := r.result("o")
	if _, err := r.sim.ApproveAll(0); err != nil {
		t.Fatal(err)
	}
	r.send(&entrustbus.Track{ID: "t", TrackingID: expired.TrackingID})
	tracked := r.result("t")
	r.byHand(&entrustbus.Complete{ID: "good", Order: "o", CertificatePEM: tracked.CertificatePEM}, "o", 1)
	res := r.result("o", 1)
	if res.Outcome != entrustbus.OutcomeIssued || res.ChainPEM == "" || res.ChainPEM != tracked.ChainPEM || len(res.Warnings) != 0 {
		t.Errorf("result is %+v (error %+v), want the chain of %+v", res, res.Error, tracked)
	}
}
