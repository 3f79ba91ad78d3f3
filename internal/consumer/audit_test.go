package consumer_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/audit"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/policy"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// withAudit makes the workers of a rig write an audit trail, with signed heads.
func withAudit(r *rig) {
	r.t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		r.t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		r.t.Fatal(err)
	}
	path := filepath.Join(r.t.TempDir(), "audit.key")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		r.t.Fatal(err)
	}
	if r.cfg.AuditKey, err = audit.ReadKey(path); err != nil {
		r.t.Fatal(err)
	}
	r.layout.Audited = true
	r.cfg.Layout = r.layout
	if _, err := streams.Provision(r.t.Context(), r.js, r.layout); err != nil {
		r.t.Fatal(err)
	}
	if err := streams.Verify(r.t.Context(), r.js, r.layout); err != nil {
		r.t.Fatal(err)
	}
}

// trail reads and checks the audit trail.
func (r *rig) trail() ([]*audit.Record, *audit.Report) {
	r.t.Helper()
	st, err := r.js.Stream(r.t.Context(), r.layout.Audit)
	if err != nil {
		r.t.Fatal(err)
	}
	info := st.CachedInfo()
	v := audit.Verifier{Keys: []ed25519.PublicKey{r.cfg.AuditKey.Public()}, MaxAge: info.Config.MaxAge, Created: info.Created, Now: time.Now()}
	var all []*audit.Record
	for m, err := range audit.Read(r.t.Context(), r.js, r.layout.Audit, 1) {
		if err != nil {
			r.t.Fatal(err)
		}
		v.Add(m)
		if rec, err := audit.Decode(m.Body); err == nil {
			all = append(all, rec)
		}
	}
	return all, v.Report()
}

// decisions are the decisions of a trail about orders, in any order.
func decisions(all []*audit.Record) (got []string) {
	for _, rec := range all {
		if rec.Order == "" {
			continue
		}
		s := fmt.Sprintf("%s.%d %s", rec.Order, rec.Generation, rec.Decision)
		if rec.Operator != "" {
			s += " by " + rec.Operator + " because " + rec.Reason
		}
		got = append(got, s)
	}
	slices.Sort(got)
	return got
}

// Every decision with an effect outside is one record of a chain that can be verified.
func TestAuditTrail(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{Faults: []gatewaytest.Fault{
		{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultReject, CNPrefix: "no", Times: 1},
		{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultSlowApproval, CNPrefix: "slow", Delay: time.Hour},
	}})
	withAudit(r)
	p, err := policy.Parse([]byte("producers:\n  " + producer + ":\n    kinds: [issue, revoke, cancel]\n    names: {dns: {suffixes: [good, good.example.net]}}\n    revoke: {serials: any}\n"))
	if err != nil {
		t.Fatal(err)
	}
	r.cfg.Policy = func() *policy.Policy { return p }
	stop := r.run()
	r.send(&entrustbus.Issue{ID: "quick", CSRPEM: csr(t, "quick.good")})
	serial := r.result("quick").Serial
	r.send(&entrustbus.Issue{ID: "evil", CSRPEM: csr(t, "evil")})
	r.result("evil")
	r.send(&entrustbus.Revoke{ID: "revoke", Serial: serial})
	r.result("revoke")
	r.publish(entrustbus.KindIssue, []byte(`{"id":"broken","csr_pem":"nonsense"}`))
	r.result("broken") // it breaks the contract and has no effect outside
	no := &entrustbus.Issue{ID: "no", CSRPEM: csr(t, "no.good")}
	r.send(no, order.HeaderOperator, "mallory") // counts on an operator's subject only
	r.result("no")
	r.eventually("the record closed", func() bool { return r.record("no").Phase == order.Closed })
	r.send(no, entrustbus.HeaderReplay, "1", order.HeaderOperator, "ada", order.HeaderReason, "the approver slept")
	if res := r.result("no", 1); res.Outcome != entrustbus.OutcomeIssued {
		t.Fatalf("result is %+v (error %+v)", res, res.Error)
	}
	r.send(&entrustbus.Issue{ID: "slow", CSRPEM: csr(t, "slow.good")})
	r.eventually("the order awaiting", func() bool { return r.record("slow").Phase == order.Awaiting })
	r.send(&entrustbus.Cancel{ID: "cancel", Order: "slow"})
	r.result("cancel")
	r.quiet()
	stop()

	all, report := r.trail()
	want := []string{
		"cancel.0 cancelled",
		"evil.0 denied",
		"no.0 rejected",
		"no.1 issued by ada because the approver slept",
		"no.1 replayed by ada because the approver slept",
		"quick.0 issued",
		"revoke.0 revoked",
		"slow.0 cancelled",
		"slow.0 submitted",
	}
	if got := decisions(all); !slices.Equal(got, want) {
		t.Errorf("the trail holds\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
	if len(report.Faults) > 0 || len(report.Chains) != 1 || !report.Chains[0].Ended || report.Chains[0].Signed != 2 || report.Chains[0].Unproven > 0 {
		t.Errorf("the trail verifies as %+v", report)
	}
	digest := p.Digest()
	for _, rec := range all {
		if rec.Order == "quick" && (rec.Serial != serial || rec.Submissions != 1 || rec.Digest == "" || rec.Policy != fmt.Sprintf("%x", digest[:16])) {
			t.Errorf("the record of an issued order is %+v", rec)
		}
		if rec.Order == "evil" && !strings.Contains(rec.Rule, "(rule names.dns)") {
			t.Errorf("the record of a denial is %+v", rec)
		}
	}
}

// A result without an audit record, after a crash between them, gets its record before the
// order is closed. An existing record is repeated under an id of the chain, and names the
// first.
func TestAuditIsRepaired(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	stop := r.run()
	request := &entrustbus.Issue{ID: "o", CSRPEM: csr(t, "o")}
	r.send(request)
	r.result("o")
	died := r.closed("o").Record
	died.Phase, died.Owner, died.Lease, died.Outcome, died.Serial = order.Submitting, "gone", time.Second, "", ""
	r.quiet()
	stop()

	withAudit(r)
	for _, want := range []int{1, 2} {
		r.write("o", died)
		stop := r.run()
		r.send(request)
		r.closed("o")
		r.quiet()
		stop()
		all, report := r.trail()
		if got := decisions(all); len(got) != want || got[0] != "o.0 issued" {
			t.Errorf("the trail holds %q, want %d records of the issue", got, want)
		}
		if len(report.Faults) > 0 {
			t.Errorf("faults %v", report.Faults)
		}
	}
	firsts := 0
	for m, err := range streams.Scan(t.Context(), r.js, r.layout.Audit, ">") {
		if err != nil {
			t.Fatal(err)
		}
		if m.Header.Get(audit.HeaderFirst) != "" {
			firsts++
		}
	}
	if firsts != 1 {
		t.Errorf("%d records name a first one, want 1", firsts)
	}
	if n := r.enrolled(); n != 1 {
		t.Errorf("%d enrollments", n)
	}
}

// A full audit trail stops the lanes, fails no order, and loses nothing.
func TestFullAuditTrailStopsTheLanes(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	r.layout.AuditMaxBytes = 1 << 20
	withAudit(r)
	stop := r.run()
	r.send(&entrustbus.Issue{ID: "before", CSRPEM: csr(t, "before")})
	r.result("before")
	r.closed("before")
	for err := error(nil); err == nil; { // fill it
		for size := 64 << 10; size > 0 && err == nil; size /= 2 {
			_, err = r.js.Publish(t.Context(), "entrust.audit.filler", make([]byte, size))
		}
	}
	for { // to the last bytes
		if _, err := r.js.Publish(t.Context(), "entrust.audit.filler", nil); err != nil {
			break
		}
	}
	r.send(&entrustbus.Issue{ID: "caught", CSRPEM: csr(t, "caught")})
	r.result("caught") // the result is still published
	r.eventually("the alarm", func() bool { return strings.Contains(r.log.String(), "the audit trail takes no record") })
	r.send(&entrustbus.Issue{ID: "after", CSRPEM: csr(t, "after")})
	r.eventually("lanes that stand still", func() bool {
		// An open pull may deliver it before the alarm.
		return r.count(r.layout.Requests) == 2
	})
	if rec := r.record("caught"); rec.Phase == order.Closed {
		t.Error("an order is closed whose record is not in the trail")
	}
	st, err := r.js.Stream(t.Context(), r.layout.Audit)
	if err != nil {
		t.Fatal(err)
	}
	cfg := st.CachedInfo().Config
	cfg.MaxBytes *= 2
	if _, err := r.js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"caught", "after"} {
		if res := r.result(id); res.Outcome != entrustbus.OutcomeIssued || res.Submissions != 1 {
			t.Errorf("%s: %+v (error %+v)", id, res, res.Error)
		}
		r.closed(id)
	}
	r.quiet()
	stop()
	all, report := r.trail()
	if got := decisions(all); !slices.Equal(got, []string{"after.0 issued", "before.0 issued", "caught.0 issued"}) {
		t.Errorf("the trail holds %q", got)
	}
	for _, f := range report.Faults {
		if f.Chain != "" {
			t.Error(f.Error())
		}
	}
}
