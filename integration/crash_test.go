//go:build integration

package integration

import (
	"context"
	"crypto/x509"
	"fmt"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/certs"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/keys"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/testbed/oracle"
	"github.com/entrust-worker/entrust-worker/internal/testbed/rig"
)

// end is the required end of an order after its worker died.
type end struct {
	outcome     entrustbus.Outcome
	enrollments int // at the gateway
	submissions int // as the result says
	duplicate   bool
}

var (
	issuedOnce    = end{outcome: entrustbus.OutcomeIssued, enrollments: 1, submissions: 1}
	issuedTwice   = end{outcome: entrustbus.OutcomeIssued, enrollments: 1, submissions: 2} // the first was not accepted
	rejectedOnce  = end{outcome: entrustbus.OutcomeRejected, enrollments: 1, submissions: 1}
	expiredOnce   = end{outcome: entrustbus.OutcomeExpired, enrollments: 1, submissions: 1}
	heldEnrolled  = end{outcome: entrustbus.OutcomeUnconfirmed, enrollments: 1, submissions: 1}
	heldNotThere  = end{outcome: entrustbus.OutcomeUnconfirmed, submissions: 1}
	failedNothing = end{outcome: entrustbus.OutcomeFailed}
	failedRefused = end{outcome: entrustbus.OutcomeFailed, submissions: 1}
	failedWrong   = end{outcome: entrustbus.OutcomeFailed, enrollments: 1, submissions: 1}
	revokedOnce   = end{outcome: entrustbus.OutcomeRevoked}
	trackedOnce   = end{outcome: entrustbus.OutcomeIssued}
	cancelledOnce = end{outcome: entrustbus.OutcomeCancelled, enrollments: 1, submissions: 1}
)

// death is one failpoint at which a worker dies.
type death struct {
	failpoint string
	pass      int // the pass of the worker at which it dies; 0 means the first
	want      end
}

// life is one kind of order, and the failpoints on its way.
type life struct {
	name    string
	dialect gatewaytest.Dialect
	change  func(*rig.Settings)
	// begin publishes the order that the worker dies of, after its preparations. It may
	// publish others too.
	begin  func(*crashRun) *oracle.Order
	deaths []death
}

// crashRun is one death.
type crashRun struct {
	*testing.T
	ctx  context.Context
	site *rig.Site
	gw   *gatewaytest.Server
	id   string

	orders []*oracle.Order
}

// order publishes an issue order with a fate.
func (r *crashRun) order(fate string, change func(*entrustbus.Issue)) *oracle.Order {
	o := oracle.NewIssue(r.id, fate)
	if change != nil {
		change(o.Request.(*entrustbus.Issue))
	}
	submit(r.ctx, r, r.site, o)
	r.orders = append(r.orders, o)
	return o
}

// request publishes a request of another kind.
func (r *crashRun) request(q entrustbus.Request) *oracle.Order {
	o := &oracle.Order{Request: q}
	submit(r.ctx, r, r.site, o)
	r.orders = append(r.orders, o)
	return o
}

// enrolled enrolls an order at the gateway without the worker.
func (r *crashRun) enrolled(fate string) (gateway.Answer, *x509.CertificateRequest) {
	hc, err := r.gw.Client()
	if err != nil {
		r.Fatal(err)
	}
	defer hc.CloseIdleConnections()
	client, err := gateway.New(gateway.Config{URL: r.gw.URL(), CAID: r.gw.CAID(), ProfileID: r.gw.Profile(), Dialect: gateway.DialectCertctl}, hc, nil)
	if err != nil {
		r.Fatal(err)
	}
	csr, err := x509.ParseCertificateRequest(oracle.NewIssue(r.id+"-elsewhere", fate).Request.(*entrustbus.Issue).CSRDER)
	if err != nil {
		r.Fatal(err)
	}
	a, err := client.Enroll(r.ctx, gateway.Enrollment{CSR: csr})
	if err != nil {
		r.Fatal(err)
	}
	return a, csr
}

func issueAs(fate string) func(*crashRun) *oracle.Order {
	return func(r *crashRun) *oracle.Order { return r.order(fate, nil) }
}

func shortLived(r *crashRun) *oracle.Order {
	return r.order("hold", func(q *entrustbus.Issue) { q.PollMaxWaitSeconds = 2 })
}

// tooPatient publishes a request with a longer deadline than the worker allows.
func tooPatient(r *crashRun) *oracle.Order {
	return r.order("issue", func(q *entrustbus.Issue) { q.PollMaxWaitSeconds = int64(2 * rig.MaxWaitLimit / time.Second) })
}

func revocation(r *crashRun) *oracle.Order {
	a, _ := r.enrolled("issue")
	return r.request(&entrustbus.Revoke{ID: r.id, CertificatePEM: entrustbus.CertificatePEM(a.Certificate), Reason: "keyCompromise"})
}

func tracked(r *crashRun) *oracle.Order {
	a, csr := r.enrolled("pending")
	return r.request(&entrustbus.Track{ID: r.id, TrackingID: a.TrackingID, CSRDER: csr.Raw})
}

// cancelled publishes a cancellation of an order that a living worker has parked. It
// returns the parked order.
func cancelled(r *crashRun) *oracle.Order {
	o := r.order("hold", nil)
	w := startWorker(r, r.site, nil)
	client, err := r.site.Client()
	if err != nil {
		r.Fatal(err)
	}
	for rec, err := range client.Watch(r.ctx, r.id) {
		if err != nil {
			r.Fatal(err)
		}
		if rec.Phase == entrustbus.PhaseAwaiting {
			break
		}
	}
	if err := w.Stop(20 * time.Second); err != nil {
		r.Fatal(err)
	}
	c := r.request(&entrustbus.Cancel{ID: r.id + "-cancel", Order: r.id})
	c.Want = []entrustbus.Outcome{entrustbus.OutcomeCancelled}
	return o
}

// at returns the deaths at the first pass of failpoints.
func at(want end, failpoints ...string) []death {
	var all []death
	for _, f := range failpoints {
		all = append(all, death{failpoint: f, want: want})
	}
	return all
}

// lives are the crash table of package consumer, once for each kind of order that passes
// the failpoint.
func lives() []life {
	hold := func(*rig.Settings) {}
	resubmit := func(s *rig.Settings) { s.OnLostReply = "resubmit" }
	never := func(s *rig.Settings) { s.ApprovalNever = true }
	const flat, nested = gatewaytest.CertCtl, gatewaytest.CAGW
	join := func(lists ...[]death) (all []death) {
		for _, l := range lists {
			all = append(all, l...)
		}
		return all
	}
	return []life{
		{"issued at once", flat, hold, issueAs("issue"), join(
			at(issuedOnce, "record.before", "result.after", "closed.before", "closed.after", "settle.before", "settle.after"),
			at(heldNotThere, "record.after", "call.before"),
			at(heldEnrolled, "call.after", "result.before"),
		)},
		{"not accepted at first", flat, hold, issueAs("busy"), join(
			at(heldNotThere, "record.after"),
			[]death{
				{"record.before", 2, heldNotThere}, // the gateway said no, and that was not written
				{"record.after", 2, issuedTwice}, {"wakeup.before", 1, issuedTwice}, {"wakeup.after", 1, issuedTwice},
				{"settle.before", 1, issuedTwice}, {"settle.after", 1, issuedTwice},
				{"record.before", 3, issuedTwice},
			},
		)},
		{"pending", flat, hold, issueAs("pending"), join(
			at(issuedOnce, "record.before", "wakeup.before", "wakeup.after", "settle.before", "settle.after", "result.before", "result.after", "closed.before", "closed.after"),
			at(heldNotThere, "record.after"),
			[]death{
				{"record.before", 2, heldEnrolled}, // pending, as the gateway said, and that was not written
				{"record.after", 2, issuedOnce}, {"wakeup.before", 2, issuedOnce}, {"wakeup.after", 2, issuedOnce},
				{"call.before", 2, issuedOnce}, {"call.after", 2, issuedOnce},
			},
		)},
		{"rejected at once", flat, hold, issueAs("reject"), join(
			at(rejectedOnce, "letter.before", "letter.after", "result.before", "result.after", "closed.before", "closed.after"),
			[]death{{"record.before", 2, heldEnrolled}, {"record.after", 2, rejectedOnce}},
		)},
		{"declined by people", flat, hold, issueAs("decline"), at(rejectedOnce, "letter.before", "letter.after", "result.before", "result.after", "closed.before", "closed.after")},
		{"expired", flat, hold, shortLived, at(expiredOnce, "letter.before", "letter.after", "result.before", "result.after", "closed.before", "closed.after")},
		{"refused", flat, hold, issueAs("bad"), join(
			at(failedRefused, "letter.before", "letter.after", "result.before", "result.after", "closed.after"),
			[]death{{"record.before", 2, heldNotThere}, {"record.after", 2, failedRefused}},
		)},
		{"wrong certificate", flat, hold, issueAs("wrong"), at(failedWrong, "letter.before", "letter.after", "result.before", "result.after", "closed.after")},
		{"invalid", flat, hold, tooPatient, at(failedNothing, "record.before", "record.after", "letter.before", "letter.after", "result.before", "result.after", "closed.after", "settle.before")},
		{"revoke", flat, hold, revocation, at(revokedOnce, "record.before", "record.after", "call.before", "call.after", "result.before", "result.after", "closed.before", "closed.after", "settle.before")},
		{"track", flat, hold, tracked, at(trackedOnce, "record.before", "record.after", "wakeup.before", "wakeup.after", "settle.before", "settle.after", "result.before", "result.after", "closed.before", "closed.after")},
		{"cancel", flat, hold, cancelled, join(
			at(cancelledOnce, "record.before", "record.after", "result.before", "result.after", "closed.before", "closed.after", "wakeup.before", "wakeup.after"),
			[]death{
				{"record.before", 2, cancelledOnce}, {"record.after", 2, cancelledOnce},
				{"record.before", 3, cancelledOnce}, {"record.after", 3, cancelledOnce},
				{"result.before", 2, cancelledOnce}, {"result.after", 2, cancelledOnce}, {"closed.before", 2, cancelledOnce}, {"closed.after", 2, cancelledOnce},
			},
		)},

		{"resubmitted", flat, resubmit, issueAs("issue"), []death{
			{"record.after", 1, end{entrustbus.OutcomeIssued, 1, 2, true}},
			{"record.before", 2, end{entrustbus.OutcomeIssued, 2, 2, true}},
			{"record.after", 2, issuedOnce}, // the end is written before its result
			{"result.before", 1, issuedOnce},
		}},
		{"looked up", nested, hold, issueAs("issue"), join(at(heldNotThere, "record.after"), at(issuedOnce, "result.before", "result.after"))},
		{"looked up, answer lost", nested, hold, issueAs("lost"), join(
			at(issuedOnce, "wakeup.before", "wakeup.after", "result.before", "result.after", "closed.before", "closed.after"),
			[]death{{"record.before", 2, issuedOnce}, {"record.after", 2, issuedOnce}},
		)},
		{"looked up, pending", nested, hold, issueAs("pending"), at(issuedOnce, "wakeup.before", "wakeup.after", "result.before")},
		{"looked up, not approved", nested, hold, shortLived, []death{{"record.before", 2, heldEnrolled}}},
		{"looked up, no approvals", nested, never, issueAs("issue"), []death{
			{"record.after", 1, end{entrustbus.OutcomeIssued, 1, 2, false}},
			{"record.before", 2, issuedOnce},
			{"result.before", 1, issuedOnce},
		}},
	}
}

// crashFaults steer orders in ways that the simulator's words cannot.
var crashFaults = []gatewaytest.Fault{
	{Kind: gatewaytest.FaultStatus, Op: gatewaytest.OpEnroll, CNPrefix: "busy-", Status: 503, PerOrder: 1},
	{Kind: gatewaytest.FaultStatus, Op: gatewaytest.OpEnroll, CNPrefix: "bad-", Status: 400, Message: "no such profile"},
	{Kind: gatewaytest.FaultWrongKey, Op: gatewaytest.OpEnroll, CNPrefix: "wrong-"},
	{Kind: gatewaytest.FaultLostReply, Op: gatewaytest.OpEnroll, CNPrefix: "lost-", PerOrder: 1},
}

// crashPolicy allows everything. With a policy, workers write the certificate's owner and
// blocked keys.
const crashPolicy = "producers: {" + oracle.Producer + ": {kinds: ['*'], names: {dns: {suffixes: ['*']}}, revoke: {serials: any, reasons: ['*']}}}"

// kept checks the entries besides the order's result: the owner of the certificate, and
// the blocked key.
func (r *crashRun) kept(o *oracle.Order) {
	r.Helper()
	client, err := r.site.Client()
	if err != nil {
		r.Fatal(err)
	}
	res, err := client.Lookup(r.ctx, o.ID())
	if err != nil {
		r.Fatal(err)
	}
	switch {
	case res.Outcome == entrustbus.OutcomeIssued && res.Kind == entrustbus.KindIssue:
		c, err := certs.New(r.site.JS, r.site.Layout.Certs).Get(r.ctx, res.CAID, res.Serial)
		if err != nil || c.Producer != res.Producer || c.Order != res.ID || !keys.ValidHash(c.Key) {
			r.Errorf("what is kept of the certificate of %s is %+v (%v)", res.ID, c, err)
		}
	case res.Outcome == entrustbus.OutcomeRevoked:
		blocks := 0
		for b, err := range keys.New(r.site.JS, r.site.Layout.Keys).All(r.ctx) {
			if blocks++; err != nil || b.Order != res.ID {
				r.Errorf("the block is %+v (%v)", b, err)
			}
		}
		if blocks != 1 {
			r.Errorf("%d keys are blocked, want 1", blocks)
		}
	}
}

// A worker dies at every failpoint of the crash table. Another worker finishes the order
// with the outcome and the enrollments that the table states.
func TestDeathAtEveryFailpoint(t *testing.T) {
	t.Parallel()
	var names []string
	for _, l := range lives() {
		for range l.deaths {
			names = append(names, fmt.Sprintf("death%d", len(names)+1))
		}
	}
	server := testbed.Start(t, permitted(t, names...))
	gateways := map[gatewaytest.Dialect]*gatewaytest.Server{}
	for _, d := range []gatewaytest.Dialect{gatewaytest.CertCtl, gatewaytest.CAGW} {
		gateways[d] = startGateway(t, gatewaytest.Config{Dialect: d, ApproveAfter: time.Second, Faults: crashFaults})
	}
	policy := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(policy, []byte(crashPolicy), 0o600); err != nil {
		t.Fatal(err)
	}
	next := 0
	for _, l := range lives() {
		for _, d := range l.deaths {
			name := names[next]
			next++
			t.Run(fmt.Sprintf("%s/%s %d", l.name, d.failpoint, max(d.pass, 1)), func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				settings := rig.Settings{Dialect: string(l.dialect), PolicyFile: policy}
				l.change(&settings)
				r := &crashRun{T: t, ctx: ctx, gw: gateways[l.dialect], id: name}
				r.site = openSite(t, server, rig.Config{Name: name, Gateway: r.gw, Binary: mortalBinary, Settings: settings})
				o := l.begin(r)
				o.Want = []entrustbus.Outcome{d.want.outcome}
				r.die(d)
				startWorker(t, r.site, nil)
				v := check(ctx, t, r.site, r.orders)
				r.compare(o, d.want)
				r.kept(o)
				t.Log(v)
			})
		}
	}
}

// die starts a worker and returns when it died at the failpoint.
func (r *crashRun) die(d death) {
	r.Helper()
	w := startWorker(r, r.site, func(s *rig.Settings) { s.DieAt, s.DiePass = d.failpoint, d.pass })
	select {
	case <-w.Done():
	case <-time.After(40 * time.Second):
		r.Fatalf("the worker never passed the failpoint %s %d times", d.failpoint, max(d.pass, 1))
	}
	if !w.Killed() {
		r.Fatalf("the worker ended by itself before it passed the failpoint %s", d.failpoint)
	}
}

// compare compares the order's only result with the table.
func (r *crashRun) compare(o *oracle.Order, want end) {
	r.Helper()
	client, err := r.site.Client()
	if err != nil {
		r.Fatal(err)
	}
	res, err := client.Lookup(r.ctx, o.ID())
	if err != nil {
		r.Fatal(err)
	}
	got := end{outcome: res.Outcome, submissions: res.Submissions, duplicate: res.PossibleDuplicate}
	there, _ := r.gw.Enrollment(o.KeyHash)
	got.enrollments = there.Count
	switch o.Request.Kind() {
	case entrustbus.KindRevoke:
		// A revocation may be repeated: its submissions count only the answered ones.
		got.submissions = 0
		serial, _ := new(big.Int).SetString(res.Serial, 16)
		for _, rev := range r.gw.Revocations() {
			if strings.EqualFold(rev.Serial, serial.Text(16)) && rev.Asked > 2 {
				r.Errorf("the gateway was asked %d times for one revocation, want at most 2", rev.Asked)
			}
		}
	case entrustbus.KindTrack:
		got.submissions = 0
	}
	if got != want {
		r.Errorf("got %+v, want %+v; the error is %v", got, want, res.Error)
	}
}

// A message that kills every worker ends as a dead letter; each try is counted before it
// is made. If the gateway may have the order, the result says so.
func TestDeathOfEveryWorker(t *testing.T) {
	t.Parallel()
	server := testbed.Start(t, permitted(t, "poisonrequest", "poisonwake-up"))
	gw := startGateway(t, gatewaytest.Config{Dialect: gatewaytest.CertCtl, ApproveAfter: time.Hour})
	for _, row := range []struct {
		name, failpoint string
		order           func(*crashRun) *oracle.Order
		want            end
	}{
		{"request", "call.after", revocation, failedNothing},
		{"wake-up", "call.after", issueAs("pending"), heldEnrolled},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			r := &crashRun{T: t, ctx: ctx, gw: gw, id: "poison" + row.name}
			r.site = openSite(t, server, rig.Config{Name: r.id, Gateway: gw, Binary: mortalBinary, AckWait: 2500 * time.Millisecond})
			o := row.order(r)
			o.Want = []entrustbus.Outcome{row.want.outcome}
			// A worker that survives this failpoint did not try.
			for deaths := 0; ; deaths++ {
				w := startWorker(t, r.site, func(s *rig.Settings) { s.DieAt = row.failpoint })
				if missing, _ := r.site.Results(timeout(t, 20*time.Second, w.Done()), o); missing == 0 {
					t.Logf("ended after %d deaths", deaths)
					break
				}
				if deaths == 12 {
					t.Fatalf("%d workers died of one message", deaths)
				}
				w.Kill()
			}
			check(ctx, t, r.site, r.orders)
			r.compare(o, row.want)
		})
	}
}

// timeout returns a context that ends after d, when done is closed, or with the test.
func timeout(t *testing.T, d time.Duration, done <-chan struct{}) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	go func() {
		select {
		case <-done:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx
}

// Workers die at random times while orders of every kind flow.
func TestDeathAtRandom(t *testing.T) {
	t.Parallel()
	server := testbed.Start(t, permitted(t, "random0", "random1"))
	for seed := range uint64(2) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			rnd := rand.New(rand.NewPCG(seed, 0))
			gw := startGateway(t, gatewaytest.Config{
				Dialect: gatewaytest.CertCtl, ApproveAfter: 3 * time.Second, Latency: 20 * time.Millisecond, LatencyJitter: 200 * time.Millisecond,
			})
			site := openSite(t, server, rig.Config{Name: fmt.Sprintf("random%d", seed), Gateway: gw, Binary: workerBinary,
				Settings: rig.Settings{Concurrency: 4}, Faults: new(oracle.Faults)})
			var orders []*oracle.Order
			for i := range 60 {
				fate := [...]string{"issue", "pending", "decline", "reject"}[i%4]
				want := entrustbus.OutcomeIssued
				if i%4 > 1 {
					want = entrustbus.OutcomeRejected
				}
				orders = append(orders, oracle.NewIssue(fmt.Sprintf("order-%d", i), fate, want))
			}
			fleet := []*testbed.Worker{startWorker(t, site, nil), startWorker(t, site, nil)}
			submit(ctx, t, site, orders...)
			for range 12 {
				time.Sleep(time.Duration(100+rnd.IntN(900)) * time.Millisecond)
				i := rnd.IntN(len(fleet))
				fleet[i].Kill()
				fleet[i] = startWorker(t, site, nil)
			}
			t.Log(check(ctx, t, site, orders))
		})
	}
}
