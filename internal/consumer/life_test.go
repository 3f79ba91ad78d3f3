package consumer_test

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

var dialects = []gatewaytest.Dialect{gatewaytest.CertCtl, gatewaytest.CAGW}

// Issued at once, in both dialects and encodings. The result follows the contract, the labels
// and the trace come back, and nothing remains on the bus.
func TestIssueAtOnce(t *testing.T) {
	t.Parallel()
	for _, dialect := range dialects {
		for _, enc := range []entrustbus.Encoding{entrustbus.EncodingMsgpack, entrustbus.EncodingJSON} {
			t.Run(fmt.Sprintf("%s %s", dialect, enc.ContentType()), func(t *testing.T) {
				t.Parallel()
				r := setup(t, gatewaytest.Config{Dialect: dialect})
				r.run()
				request := csr(t, "one")
				r.sendAs(enc, &entrustbus.Issue{ID: "one", CSRPEM: request, Labels: map[string]string{"team": "pki"}},
					entrustbus.HeaderTraceParent, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
				res := r.result("one")
				if res.Outcome != entrustbus.OutcomeIssued || res.Kind != entrustbus.KindIssue || res.Producer != producer || res.Submissions != 1 || res.PossibleDuplicate {
					t.Fatalf("result is %+v (error %+v)", res, res.Error)
				}
				if res.Labels["team"] != "pki" || res.CAID != r.sim.CAID() || res.ProfileID != r.sim.Profile() {
					t.Errorf("labels %v, ca %q, profile %q", res.Labels, res.CAID, res.ProfileID)
				}
				sameKey(t, res.CertificatePEM, request)
				if !strings.Contains(res.ChainPEM, "BEGIN CERTIFICATE") {
					t.Error("the result has no chain")
				}
				m, err := streams.Last(t.Context(), r.js, r.layout.Results, r.layout.Subjects().Result(producer, "one"))
				if err != nil {
					t.Fatal(err)
				}
				for name, want := range map[string]string{
					nats.MsgIdHdr: producer + ".one.0", entrustbus.HeaderContentType: enc.ContentType(),
					entrustbus.HeaderTraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
				} {
					if got := m.Header.Get(name); got != want {
						t.Errorf("header %s is %q, want %q", name, got, want)
					}
				}
				r.quiet()
				for _, secret := range []string{"BEGIN", strings.Split(request, "\n")[1], strings.Split(res.CertificatePEM, "\n")[1]} {
					if strings.Contains(r.log.String(), secret) {
						t.Errorf("the log holds %q", secret)
					}
				}
			})
		}
	}
}

func sameKey(t *testing.T, certPEM, csrPEM string) {
	t.Helper()
	c, _ := pem.Decode([]byte(certPEM))
	q, _ := pem.Decode([]byte(csrPEM))
	if c == nil || q == nil {
		t.Fatal("no PEM")
	}
	cert, err := x509.ParseCertificate(c.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	request, err := x509.ParseCertificateRequest(q.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if string(cert.RawSubjectPublicKeyInfo) != string(request.RawSubjectPublicKeyInfo) {
		t.Error("the certificate is for another key")
	}
}

// Pending orders are parked, never polled early, and end as the approver decides.
func TestPending(t *testing.T) {
	t.Parallel()
	for _, dialect := range dialects {
		t.Run(string(dialect), func(t *testing.T) {
			t.Parallel()
			r := setup(t, gatewaytest.Config{Dialect: dialect, PendingFraction: 1, ApproveAfter: 700 * time.Millisecond, Faults: []gatewaytest.Fault{
				{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultReject, Delay: 500 * time.Millisecond, CNPrefix: "no"},
			}})
			r.run()
			r.send(&entrustbus.Issue{ID: "yes", CSRPEM: csr(t, "yes")})
			r.send(&entrustbus.Issue{ID: "no", CSRPEM: csr(t, "no")})
			if res := r.result("yes"); res.Outcome != entrustbus.OutcomeIssued || res.Polls < 1 || res.TrackingID == "" || res.SubmittedAt.IsZero() {
				t.Errorf("approved: %+v (error %+v)", res, res.Error)
			}
			if res := r.result("no"); res.Outcome != entrustbus.OutcomeRejected || res.Error == nil {
				t.Errorf("rejected: %+v", res)
			}
			r.wantLetters(order.Rejected)
			r.quiet()
			for p := range r.sim.Polls() {
				if p.AfterEnd > 0 {
					t.Errorf("%s was polled after its end", p.CN)
				}
				if gap := p.First.Sub(p.Enrolled); gap < 180*time.Millisecond {
					t.Errorf("%s was polled %s after it was submitted, before the first wait", p.CN, gap)
				}
			}
			if n := r.enrolled(); n != 2 {
				t.Errorf("%d enrollments, want 2", n)
			}
		})
	}
}

// An order without an approval is polled a last time at its deadline and expires once. A track
// request takes it over without another enrollment.
func TestExpireAndTrack(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{PendingFraction: 1})
	r.run()
	request := csr(t, "slow")
	r.send(&entrustbus.Issue{ID: "slow", CSRPEM: request, PollMaxWaitSeconds: 2})
	res := r.result("slow")
	if res.Outcome != entrustbus.OutcomeExpired || res.TrackingID == "" || res.Error == nil || res.Error.Class != entrustbus.ClassTimeout {
		t.Fatalf("result is %+v", res)
	}
	r.wantLetters(order.Expired)
	poll, err := r.sim.PollsOf(res.TrackingID)
	if err != nil {
		t.Fatal(err)
	}
	if wait := poll.Last.Sub(res.SubmittedAt); wait < 2*time.Second {
		t.Errorf("the last poll came %s after the submission, before the deadline", wait)
	}
	if err := r.sim.Approve(res.TrackingID); err != nil {
		t.Fatal(err)
	}
	r.send(&entrustbus.Track{ID: "again", TrackingID: res.TrackingID, CSRPEM: request})
	if res := r.result("again"); res.Outcome != entrustbus.OutcomeIssued || res.Kind != entrustbus.KindTrack {
		t.Fatalf("tracked: %+v (error %+v)", res, res.Error)
	}
	if n := r.enrolled(); n != 1 {
		t.Errorf("%d enrollments, want 1", n)
	}
	r.quiet()
}

// No worker runs at an order's deadline: the next worker polls a last time, and only then the
// order expires, once.
func TestDownAcrossTheDeadline(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{PendingFraction: 1})
	r.patience()
	r.cfg.MaxWait = 6 * time.Second
	key := r.park("late")
	rec := r.record(key.ID)
	r.eventually("the deadline", func() bool { return time.Now().After(rec.Deadline) })
	r.run()
	if res := r.result("late"); res.Outcome != entrustbus.OutcomeExpired || res.TrackingID != rec.TrackingID || res.Polls != 1 {
		t.Errorf("result is %+v (error %+v)", res, res.Error)
	}
	if poll, err := r.sim.PollsOf(rec.TrackingID); err != nil || poll.Count != 1 || poll.Last.Before(rec.Deadline) {
		t.Errorf("polled %d times, last %s, %v; want once after %s", poll.Count, poll.Last, err, rec.Deadline)
	}
	r.wantLetters(order.Expired)
	r.quiet()
	if n := r.count(r.layout.Results); n != 1 {
		t.Errorf("%d results, want 1", n)
	}
}

// A track request without a CSR: the certificate is not checked against a key, and does not
// count as wrong because of that.
func TestTrackWithoutCSR(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{PendingFraction: 1})
	r.run()
	r.send(&entrustbus.Issue{ID: "slow", CSRPEM: csr(t, "slow"), PollMaxWaitSeconds: 1})
	expired := r.result("slow")
	if err := r.sim.Approve(expired.TrackingID); err != nil {
		t.Fatal(err)
	}
	r.send(&entrustbus.Track{ID: "again", TrackingID: expired.TrackingID})
	if res := r.result("again"); res.Outcome != entrustbus.OutcomeIssued || res.CertificatePEM == "" {
		t.Errorf("tracked: %+v (error %+v)", res, res.Error)
	}
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	for _, dialect := range dialects {
		t.Run(string(dialect), func(t *testing.T) {
			t.Parallel()
			r := setup(t, gatewaytest.Config{Dialect: dialect})
			r.run()
			r.send(&entrustbus.Issue{ID: "c", CSRPEM: csr(t, "c")})
			issued := r.result("c")
			// A hold first: a certificate that is revoked for good cannot be put on hold.
			for i, reason := range []string{"certificateHold", "unspecified", "keyCompromise", "caCompromise", "affiliationChanged", "superseded", "cessationOfOperation", "privilegeWithdrawn"} {
				id := fmt.Sprint("r", i)
				r.send(&entrustbus.Revoke{ID: id, Serial: issued.Serial, Reason: reason})
				if res := r.result(id); res.Outcome != entrustbus.OutcomeRevoked || res.Serial != issued.Serial || res.SerialDecimal != issued.SerialDecimal {
					t.Errorf("%s: %+v (error %+v)", reason, res, res.Error)
				}
			}
			r.send(&entrustbus.Revoke{ID: "none", Serial: "0xDEAD"})
			if res := r.result("none"); res.Outcome != entrustbus.OutcomeFailed || res.Error == nil || res.Error.HTTPStatus != 404 {
				t.Errorf("an unknown serial: %+v (error %+v)", res, res.Error)
			}
			r.wantLetters(order.Rejected)
			r.quiet()
		})
	}
}

// The same id again: the same content changes nothing. Other content or another kind is
// refused, and the first result stays in force.
func TestSameIDAgain(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	r.run()
	request := csr(t, "once")
	r.send(&entrustbus.Issue{ID: "once", CSRPEM: request})
	first := r.result("once")
	// Other message ids: the server's own duplicate window must not decide here.
	r.send(&entrustbus.Issue{ID: "once", CSRPEM: request}, nats.MsgIdHdr, "again")
	r.sendAs(entrustbus.EncodingJSON, &entrustbus.Issue{ID: "once", CSRPEM: request}, nats.MsgIdHdr, "again, as JSON")
	r.quiet()
	if got := r.letters(); len(got) != 0 {
		t.Fatalf("a repeat made dead letters: %+v", got[0])
	}
	r.send(&entrustbus.Issue{ID: "once", CSRPEM: csr(t, "other")}, nats.MsgIdHdr, "another content")
	r.send(&entrustbus.Revoke{ID: "once", Serial: "1"}, nats.MsgIdHdr, "another kind")
	letters := r.wantLetters(order.Invalid, order.Invalid)
	for _, l := range letters {
		if !strings.Contains(l.Why, "id: ") || l.Key.ID != "once" {
			t.Errorf("the letter says %q of %s", l.Why, l.Key)
		}
	}
	r.quiet()
	if again := r.result("once"); again.Serial != first.Serial || again.Outcome != entrustbus.OutcomeIssued {
		t.Errorf("the result became %+v", again)
	}
	if n, results := r.enrolled(), r.count(r.layout.Results); n != 1 || results != 1 {
		t.Errorf("%d enrollments and %d results, want 1 and 1", n, results)
	}
}

// A malformed request, or a request that breaks the contract, affects no other request.
func TestBadRequests(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	r.cfg.RefuseUnverified = true
	r.run()
	r.publish(entrustbus.KindIssue, []byte("\xc1 rubbish"))
	r.publish(entrustbus.KindIssue, []byte("{"), entrustbus.HeaderOrderID, "half")
	r.publish(entrustbus.KindIssue, []byte(`{"id":"v9","v":9,"csr_pem":"x"}`))
	r.publish(entrustbus.KindIssue, []byte(`{"id":"csr","csr_pem":"-----BEGIN NOTHING-----"}`))
	r.publish(entrustbus.KindIssue, []byte(`{"id":"cut","csr_pem":"-----BEGIN`))
	unverifiable, err := os.ReadFile("../../entrustbus/testdata/others/secp256k1.csr")
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(map[string]any{"id": "curve", "csr_pem": string(unverifiable)})
	if err != nil {
		t.Fatal(err)
	}
	r.publish(entrustbus.KindIssue, body)
	if body, err = json.Marshal(map[string]any{"id": "good", "csr_pem": csr(t, "good"), "profil_id": "x"}); err != nil {
		t.Fatal(err)
	}
	r.publish(entrustbus.KindIssue, body)
	if res := r.result("good"); res.Outcome != entrustbus.OutcomeIssued || len(res.Warnings) != 1 || !strings.Contains(res.Warnings[0], "profile_id") {
		t.Errorf("a good request behind bad ones: %+v, warnings %q", res, res.Warnings)
	}
	if res := r.result("curve"); res.Error == nil || !strings.Contains(res.Error.Message, "secp256k1") {
		t.Errorf("an unknown curve: %+v (error %+v)", res, res.Error)
	}
	for _, id := range []string{"half", "csr", "cut", "curve"} {
		if res := r.result(id); res.Outcome != entrustbus.OutcomeFailed || res.Error == nil || res.Error.Class != entrustbus.ClassValidation {
			t.Errorf("%s: %+v (error %+v)", id, res, res.Error)
		}
	}
	for _, l := range r.wantLetters(order.Undecodable, order.Undecodable, order.Undecodable, order.Undecodable, order.Invalid, order.Invalid) {
		if l.Why == "" || len(l.Request.Body) == 0 || l.Request.Subject != "entrust.request.shop.issue" {
			t.Errorf("a letter lacks its error, body or subject: %+v", l)
		}
	}
	r.quiet()
}

// The gateway refuses one order for good: it gets a result and a dead letter.
func TestRefused(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{Dialect: gatewaytest.CAGW})
	r.run()
	r.send(&entrustbus.Issue{ID: "p", CSRPEM: csr(t, "p"), ProfileID: "no-such-profile"})
	res := r.result("p")
	if res.Outcome != entrustbus.OutcomeFailed || res.Error == nil || res.Error.Code == "" || res.Error.HTTPStatus < 400 {
		t.Fatalf("result is %+v (error %+v)", res, res.Error)
	}
	r.wantLetters(order.Rejected)
	r.quiet()
}

// A certificate that does not match its request is not published as issued, and the operator
// gets its serial.
func TestWrongCertificate(t *testing.T) {
	t.Parallel()
	for _, fault := range []gatewaytest.Kind{gatewaytest.FaultWrongKey, gatewaytest.FaultWrongNames, gatewaytest.FaultExpired} {
		t.Run(string(fault), func(t *testing.T) {
			t.Parallel()
			r := setup(t, gatewaytest.Config{Faults: []gatewaytest.Fault{{Op: gatewaytest.OpEnroll, Kind: fault}}})
			r.run()
			r.send(&entrustbus.Issue{ID: "w", CSRPEM: csr(t, "w")})
			res := r.result("w")
			if res.Outcome != entrustbus.OutcomeFailed || res.CertificatePEM != "" || res.Error.Code != "wrong_certificate" || res.Serial == "" {
				t.Fatalf("result is %+v (error %+v)", res, res.Error)
			}
			r.wantLetters(order.WrongCertificate)
			if !strings.Contains(r.log.String(), "serial "+res.Serial) {
				t.Error("the log does not name the serial to revoke")
			}
		})
	}
}

// An unusable chain does not make a certificate wrong: the unusable part is left out, and the
// result says so.
func TestChainIsNoVerdict(t *testing.T) {
	t.Parallel()
	for _, dialect := range dialects {
		for _, fault := range []gatewaytest.Kind{gatewaytest.FaultWrongChain, gatewaytest.FaultExpiredChain} {
			t.Run(string(dialect)+" "+string(fault), func(t *testing.T) {
				t.Parallel()
				r := setup(t, gatewaytest.Config{Dialect: dialect, Faults: []gatewaytest.Fault{{Kind: fault}}})
				r.run()
				r.send(&entrustbus.Issue{ID: "c", CSRPEM: csr(t, "c")})
				res := r.result("c")
				if res.Outcome != entrustbus.OutcomeIssued || res.CertificatePEM == "" || res.ChainPEM != "" ||
					len(res.Warnings) != 1 || !strings.HasPrefix(res.Warnings[0], "chain: ") {
					t.Fatalf("result is %+v (error %+v)", res, res.Error)
				}
				r.wantLetters()
				r.quiet()
			})
		}
	}
}

// A lost reply: the order is held, submitted again or adopted, as configured and as the gateway
// allows.
func TestLostReply(t *testing.T) {
	t.Parallel()
	lost := []gatewaytest.Fault{{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultLostReply, Times: 1}}
	for _, tc := range []struct {
		name      string
		sim       gatewaytest.Config
		onLost    string
		never     bool
		outcome   entrustbus.Outcome
		enrolled  int
		submitted int
		duplicate bool
	}{
		{"certctl holds", gatewaytest.Config{Faults: lost}, order.Hold, false, entrustbus.OutcomeUnconfirmed, 1, 1, false},
		{"certctl resubmits", gatewaytest.Config{Faults: lost}, order.Resubmit, false, entrustbus.OutcomeIssued, 2, 2, true},
		{"cagw adopts", gatewaytest.Config{Dialect: gatewaytest.CAGW, Faults: lost}, order.Hold, false, entrustbus.OutcomeIssued, 1, 1, false},
		{"cagw finds nothing and holds", gatewaytest.Config{Dialect: gatewaytest.CAGW, Faults: []gatewaytest.Fault{{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultStatus, Status: 500, Times: 1}}},
			order.Hold, false, entrustbus.OutcomeUnconfirmed, 0, 1, false},
		{"cagw finds nothing where nothing waits", gatewaytest.Config{Dialect: gatewaytest.CAGW, Faults: []gatewaytest.Fault{{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultStatus, Status: 500, Times: 1}}},
			order.Hold, true, entrustbus.OutcomeIssued, 1, 2, false},
		{"cagw has more events than may be read", gatewaytest.Config{Dialect: gatewaytest.CAGW, EmptyEventPages: 9, Faults: []gatewaytest.Fault{{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultStatus, Status: 500, Times: 1}}},
			order.Hold, true, entrustbus.OutcomeUnconfirmed, 0, 1, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := setup(t, tc.sim)
			r.cfg.OnLostReply, r.cfg.ApprovalNever = tc.onLost, tc.never
			r.gwcfg.FindMaxPages = 8
			r.run()
			r.send(&entrustbus.Issue{ID: "l", CSRPEM: csr(t, "l")})
			res := r.result("l")
			if res.Outcome != tc.outcome || res.Submissions != tc.submitted || res.PossibleDuplicate != tc.duplicate {
				t.Errorf("result is %+v (error %+v)", res, res.Error)
			}
			if n := r.enrolled(); n != tc.enrolled {
				t.Errorf("%d enrollments, want %d", n, tc.enrolled)
			}
			if tc.outcome == entrustbus.OutcomeUnconfirmed {
				r.wantLetters(order.Unconfirmed)
			}
			r.quiet()
		})
	}
}

// An outage, throttling, or refused credentials never fail a request.
func TestGatewayTrouble(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		fault gatewaytest.Fault
	}{
		{"503", gatewaytest.Fault{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultStatus, Status: 503, Form: "json", Times: 7}},
		{"down", gatewaytest.Fault{Kind: gatewaytest.FaultStatus, Status: 503, Form: "text", Times: 3}},
		{"429", gatewaytest.Fault{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultThrottle, RetryAfter: time.Second, Times: 2}},
		{"401", gatewaytest.Fault{Kind: gatewaytest.FaultStatus, Status: 401, Times: 2}},
		{"TLS", gatewaytest.Fault{Op: gatewaytest.OpConnect, Kind: gatewaytest.FaultResetTLS, Times: 3}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := setup(t, gatewaytest.Config{Faults: []gatewaytest.Fault{tc.fault}})
			r.gwcfg.Dialect = gateway.DialectCertctl
			r.run()
			const n = 12
			for i := range n {
				r.send(&entrustbus.Issue{ID: fmt.Sprint("o", i), CSRPEM: csr(t, fmt.Sprint("o", i))})
			}
			for i := range n {
				if res := r.result(fmt.Sprint("o", i)); res.Outcome != entrustbus.OutcomeIssued || res.Submissions < 1 || res.PossibleDuplicate {
					t.Errorf("order %d: %+v (error %+v)", i, res, res.Error)
				}
			}
			if got := r.enrolled(); got != n {
				t.Errorf("%d enrollments, want %d", got, n)
			}
			if letters := r.letters(); len(letters) > 0 {
				t.Errorf("a dead letter: %+v", letters[0])
			}
			r.quiet()
		})
	}
}

// While the gateway is down nothing is fetched, so no delivery is counted.
func TestOutageLeavesRequestsAlone(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	r.sim.SetDown(true)
	r.run()
	r.send(&entrustbus.Issue{ID: "o", CSRPEM: csr(t, "o")})
	r.eventually("a probe that failed", func() bool { return strings.Contains(r.log.String(), "requests wait") })
	// The server updates its pending count a moment after it acknowledged the request.
	r.eventually("one request pending and none delivered", func() bool {
		cons, err := r.js.Consumer(t.Context(), r.layout.Requests, streams.ConsumerIssue)
		if err != nil {
			t.Fatal(err)
		}
		info := cons.CachedInfo()
		if info.Delivered.Consumer != 0 {
			t.Fatalf("%d delivered", info.Delivered.Consumer)
		}
		return info.NumPending == 1
	})
	r.sim.SetDown(false)
	if res := r.result("o"); res.Outcome != entrustbus.OutcomeIssued {
		t.Errorf("after the outage: %+v", res)
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{PendingFraction: 1})
	r.run()
	r.send(&entrustbus.Issue{ID: "o", CSRPEM: csr(t, "o"), Labels: map[string]string{"a": "b"}})
	r.eventually("the order parked", func() bool { return r.count(r.layout.Parked) == 1 })
	r.send(&entrustbus.Cancel{ID: "c1", Order: "o"})
	if res := r.result("c1"); res.Outcome != entrustbus.OutcomeCancelled {
		t.Errorf("the cancellation: %+v (error %+v)", res, res.Error)
	}
	if res := r.result("o"); res.Outcome != entrustbus.OutcomeCancelled || res.TrackingID == "" || res.Labels["a"] != "b" {
		t.Errorf("the order: %+v", res)
	}
	r.quiet()
	r.send(&entrustbus.Cancel{ID: "c3", Order: "never-seen"})
	if res := r.result("c3"); res.Outcome != entrustbus.OutcomeFailed || res.Error.Code != "no_such_order" {
		t.Errorf("an unknown order: %+v", res)
	}
	if n := r.count(r.layout.Dead); n != 0 {
		t.Errorf("%d dead letters, want none", n)
	}
}

// A replay makes a new generation. An order that the gateway already has is not submitted
// again; an order that it declined is.
func TestReplay(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{PendingFraction: 1, Faults: []gatewaytest.Fault{
		{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultReject, Times: 1, CNPrefix: "no"},
	}})
	r.run()
	slow := &entrustbus.Issue{ID: "slow", CSRPEM: csr(t, "slow"), PollMaxWaitSeconds: 1}
	r.send(slow)
	expired := r.result("slow")
	if expired.Outcome != entrustbus.OutcomeExpired {
		t.Fatalf("result is %+v", expired)
	}
	if err := r.sim.Approve(expired.TrackingID); err != nil {
		t.Fatal(err)
	}
	r.replay(slow, 1)
	if res := r.result("slow", 1); res.Outcome != entrustbus.OutcomeIssued || res.Replay != 1 || res.TrackingID != expired.TrackingID {
		t.Errorf("replayed: %+v (error %+v)", res, res.Error)
	}
	r.replay(slow, 2)
	r.quiet()
	if res := r.result("slow"); res.Replay != 1 {
		t.Errorf("a replay of what was issued made generation %d", res.Replay)
	}
	if n := r.enrolled(); n != 1 {
		t.Errorf("%d enrollments, want 1", n)
	}

	declined := &entrustbus.Issue{ID: "no", CSRPEM: csr(t, "no")}
	r.send(declined)
	rejected := r.result("no")
	if rejected.Outcome != entrustbus.OutcomeRejected {
		t.Fatalf("result is %+v", rejected)
	}
	r.replay(declined, 1)
	var rec order.Stored
	r.eventually("the replay awaiting", func() bool {
		rec = r.record("no")
		return rec.Phase == order.Awaiting
	})
	if rec.TrackingID == rejected.TrackingID || rec.Submissions != 1 || rec.PossibleDuplicate {
		t.Errorf("the replay has tracking id %s and %d submissions, the rejected order %s", rec.TrackingID, rec.Submissions, rejected.TrackingID)
	}
	if err := r.sim.Approve(rec.TrackingID); err != nil {
		t.Fatal(err)
	}
	if res := r.result("no", 1); res.Outcome != entrustbus.OutcomeIssued || res.Replay != 1 {
		t.Errorf("replayed: %+v (error %+v)", res, res.Error)
	}
	if n := r.enrolled(); n != 3 {
		t.Errorf("%d enrollments, want 3", n)
	}
}

// A worker that stops hands back at once the messages that it has not begun, and finishes the
// others.
func TestStopDrains(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{Latency: 600 * time.Millisecond})
	stop := r.run()
	r.send(&entrustbus.Issue{ID: "s", CSRPEM: csr(t, "s")})
	r.eventually("the call", func() bool { return r.enrolled() == 1 })
	stop()
	if res := r.result("s"); res.Outcome != entrustbus.OutcomeIssued {
		t.Errorf("result is %+v", res)
	}
	if n := r.count(r.layout.Requests); n != 0 {
		t.Errorf("%d requests left unacknowledged by a clean stop", n)
	}
}

// A request that the bus can deliver but not park is refused before it is submitted. Its dead
// letter is cut to the server's limit.
func TestTooLargeToPark(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{PendingFraction: 1})
	r.run()
	request, err := json.Marshal(map[string]string{"id": "big", "csr_pem": csr(t, "big"), "ignored": strings.Repeat("x", 1<<20-2200)})
	if err != nil {
		t.Fatal(err)
	}
	r.publish(entrustbus.KindIssue, request)
	res := r.result("big")
	if res.Outcome != entrustbus.OutcomeFailed || res.Error == nil || !strings.HasPrefix(res.Error.Message, "body: ") {
		t.Errorf("result is %+v (error %+v)", res, res.Error)
	}
	l := r.wantLetters(order.Invalid)[0]
	if n := len(l.Request.Body); n < 1<<20-8<<10 || n > len(request) {
		t.Errorf("the letter holds %d bytes of %d", n, len(request))
	}
	if n := r.enrolled(); n != 0 {
		t.Errorf("%d enrollments of an order that could not be parked", n)
	}
	r.quiet()
}
