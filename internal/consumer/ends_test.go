package consumer_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/consumer"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// Two cancellations that name each other both end, although each finds the other begun.
func TestCancelACancellation(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	requests := []*entrustbus.Cancel{{ID: "one", Order: "two"}, {ID: "two", Order: "one"}}
	for _, c := range requests {
		// As a worker left it that died at once.
		digest, err := entrustbus.Digest(c)
		if err != nil {
			t.Fatal(err)
		}
		r.write(c.ID, order.Record{Phase: order.Indeterminate, Kind: entrustbus.KindCancel, Digest: digest[:], RequestedAt: time.Now()})
		r.send(c)
	}
	r.run()
	for _, c := range requests {
		if res := r.result(c.ID); res.Outcome != entrustbus.OutcomeFailed || res.Error.Code != "not_cancellable" {
			t.Errorf("%s: %+v (error %+v)", c.ID, res, res.Error)
		}
	}
	r.quiet()
}

// A replay that crashes the workers again ends as crashed in its own generation, with one more
// death than its dead letter counted.
func TestReplayCrashesAgain(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	body := []byte{0xc1} // not MessagePack
	id := []string{entrustbus.HeaderOrderID, "again"}
	stop := r.run()
	r.publish(entrustbus.KindIssue, body, id...)
	if res := r.result("again"); res.Outcome != entrustbus.OutcomeFailed {
		t.Fatalf("result is %+v", res)
	}
	r.quiet()
	stop()
	r.publish(entrustbus.KindIssue, body, append(id, entrustbus.HeaderReplay, "1", order.HeaderDeaths, "1")...)
	r.deliver(streams.ConsumerIssue, 4)
	r.crashed(2, 3)
	r.run()
	if res := r.result("again", 1); res.Outcome != entrustbus.OutcomeFailed || res.Error.Code != "crashed" {
		t.Errorf("replayed: %+v (error %+v)", res, res.Error)
	}
	for _, l := range r.wantLetters(order.Undecodable, order.Crashed) {
		if l.Reason == order.Crashed && (l.Deaths != 2 || l.Generation != 1) {
			t.Errorf("the letter counts %d deaths of generation %d, want 2 of 1", l.Deaths, l.Generation)
		}
	}
}

// The deaths of earlier generations are kept while an order is parked. Otherwise MaxDeaths
// would never stop an order that expires again and again.
func TestDeathsOfAParkedOrder(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{PendingFraction: 1})
	r.run()
	r.send(&entrustbus.Issue{ID: "slow", CSRPEM: csr(t, "slow"), PollMaxWaitSeconds: 1}, order.HeaderDeaths, "3")
	r.result("slow")
	if l := r.wantLetters(order.Expired)[0]; l.Deaths != 4 {
		t.Errorf("the letter counts %d deaths, want 4", l.Deaths)
	}
}

// enroller is a gateway with given answers to enrollments.
type enroller struct {
	consumer.Gateway
	enroll func(context.Context, gateway.Enrollment) (gateway.Answer, error)
	find   func() error
	probe  func() error
	revoke func() error
	poll   func() (gateway.Answer, error)
	search func(context.Context, gateway.Search) error // instead of find
}

func (g *enroller) Probe(context.Context) error {
	if g.probe != nil {
		return g.probe()
	}
	return nil
}

func (g *enroller) Poll(context.Context, gateway.Poll) (gateway.Answer, error) { return g.poll() }

func (g *enroller) Revoke(context.Context, gateway.Revocation) error { return g.revoke() }

func (g *enroller) Enroll(ctx context.Context, e gateway.Enrollment) (gateway.Answer, error) {
	return g.enroll(ctx, e)
}

func (g *enroller) Profile(context.Context, string, string) (gateway.Profile, error) {
	return gateway.Profile{}, gateway.ErrNotDescribed
}

func (g *enroller) CAs(context.Context) ([]gateway.ListedCA, error) {
	return nil, errors.New("no list")
}

func (g *enroller) CanFind() bool { return g.find != nil || g.search != nil }

func (g *enroller) Find(ctx context.Context, s gateway.Search) (gateway.Answer, bool, error) {
	if g.search != nil {
		return gateway.Answer{}, false, g.search(ctx, s)
	}
	return gateway.Answer{}, false, g.find()
}

// A stop ends a call before the gateway accepted the order. The order does not become
// indeterminate: the next worker continues at once, with the same submission.
func TestStopBeforeTheGatewayTookIt(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	r.cfg.Drain = 100 * time.Millisecond
	calling := make(chan struct{})
	called := sync.OnceFunc(func() { close(calling) })
	stop := r.runWith(&enroller{enroll: func(ctx context.Context, _ gateway.Enrollment) (gateway.Answer, error) {
		called()
		<-ctx.Done()
		return gateway.Answer{}, &gateway.Error{Op: gateway.OpEnroll, Fate: gateway.NotAccepted, Class: "network", Message: "dial: cancelled"}
	}})
	r.send(&entrustbus.Issue{ID: "early", CSRPEM: csr(t, "early")})
	<-calling
	stop()
	r.run()
	if res := r.result("early"); res.Outcome != entrustbus.OutcomeIssued || res.Submissions != 1 {
		t.Errorf("result is %+v (error %+v)", res, res.Error)
	}
}

// When the ledger is away while an order begins, the submission is later, and so is the time
// from which the gateway's events show it.
func TestSettleTimeCountsFromTheCall(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	r.cfg.ApprovalNever = true
	bucket := "KV_" + r.layout.Orders
	orders, err := r.js.Stream(t.Context(), bucket)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.js.DeleteStream(t.Context(), bucket); err != nil {
		t.Fatal(err)
	}
	called, asked := make(chan time.Time, 9), make(chan time.Time, 9)
	r.runWith(&enroller{
		enroll: func(context.Context, gateway.Enrollment) (gateway.Answer, error) {
			called <- time.Now()
			return gateway.Answer{}, &gateway.Error{Op: gateway.OpEnroll, Fate: gateway.Unknown, Class: "timeout", Message: "lost"}
		},
		find: func() error {
			asked <- time.Now()
			return fmt.Errorf("no answer")
		},
	})
	r.send(&entrustbus.Issue{ID: "late", CSRPEM: csr(t, "late")})
	r.eventually("a write that the ledger did not take", func() bool { return strings.Contains(r.log.String(), "writing a ledger record; trying again") })
	over := time.Now().Add(r.cfg.EnrollTimeout + r.cfg.EventDelay)
	r.eventually("the end of the first try's lease", func() bool { return time.Now().After(over) })
	if _, err := r.js.CreateStream(t.Context(), orders.CachedInfo().Config); err != nil {
		t.Fatal(err)
	}
	call, look := <-called, <-asked
	if gap := look.Sub(call); gap < r.cfg.EnrollTimeout+r.cfg.EventDelay {
		t.Errorf("events were asked for %s after the call, before they could be trusted", gap)
	}
}

// The fleet's rate applies to a worker that never sees the others.
func TestFleetRateWithoutControlBucket(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	r.cfg.FleetRate = 10
	if err := r.js.DeleteKeyValue(t.Context(), r.layout.Control); err != nil {
		t.Fatal(err)
	}
	const n = 10
	for i := range n {
		r.send(&entrustbus.Issue{ID: fmt.Sprint("o", i), CSRPEM: csr(t, fmt.Sprint("o", i))})
	}
	begun := time.Now()
	r.run()
	for i := range n {
		r.result(fmt.Sprint("o", i))
	}
	if took := time.Since(begun); took < (n-4)*time.Second/10 {
		t.Errorf("%d orders took %s, faster than 10 a second", n, took)
	}
}

// A gateway that refuses look-ups is not asked for ever: its orders cannot be looked up. The
// same applies when the client has no right to its events.
func TestLookUpRefused(t *testing.T) {
	t.Parallel()
	for _, refusal := range []*gateway.Error{
		{Op: gateway.OpFind, Fate: gateway.Refused, Class: "upstream_4xx", HTTPStatus: 404, Message: "no such resource"},
		{Op: gateway.OpFind, Fate: gateway.Unauthorized, Class: "auth", HTTPStatus: 403, Message: "not for you"},
	} {
		t.Run(fmt.Sprint(refusal.HTTPStatus), func(t *testing.T) {
			t.Parallel()
			r := setup(t, gatewaytest.Config{})
			r.cfg.ApprovalNever = true
			r.runWith(&enroller{
				enroll: func(context.Context, gateway.Enrollment) (gateway.Answer, error) {
					return gateway.Answer{}, &gateway.Error{Op: gateway.OpEnroll, Fate: gateway.Unknown, Class: "timeout", Message: "lost"}
				},
				find: func() error { return refusal },
			})
			r.send(&entrustbus.Issue{ID: "dark", CSRPEM: csr(t, "dark")})
			if res := r.result("dark"); res.Outcome != entrustbus.OutcomeUnconfirmed || res.Submissions != 1 {
				t.Errorf("result is %+v (error %+v)", res, res.Error)
			}
			r.wantLetters(order.Unconfirmed)
			if strings.Contains(r.log.String(), "requests wait") {
				t.Error("a forbidden look-up stopped the calls of other orders")
			}
		})
	}
}

// A track request with the wrong CSR: the certificate is not handed out for it. No operator is
// asked to revoke the certificate, since it is valid.
func TestTrackWithAnotherCSR(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{PendingFraction: 1})
	r.run()
	r.send(&entrustbus.Issue{ID: "mine", CSRPEM: csr(t, "mine"), PollMaxWaitSeconds: 1})
	expired := r.result("mine")
	if _, err := r.sim.ApproveAll(0); err != nil {
		t.Fatal(err)
	}
	r.send(&entrustbus.Track{ID: "other", TrackingID: expired.TrackingID, CSRPEM: csr(t, "other")})
	res := r.result("other")
	if res.Outcome != entrustbus.OutcomeFailed || res.CertificatePEM != "" || res.Serial != "" || res.Error.Code != "wrong_csr" || res.Error.Class != entrustbus.ClassValidation {
		t.Errorf("result is %+v (error %+v)", res, res.Error)
	}
	r.wantLetters(order.Expired, order.Invalid)
	if strings.Contains(r.log.String(), "revoke it") {
		t.Error("the log asks for a good certificate to be revoked")
	}
}

// A throttled look-up waits like every call, and continues where it was.
func TestLookUpThrottled(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{Dialect: gatewaytest.CAGW, EmptyEventPages: 3, Faults: []gatewaytest.Fault{
		{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultLostReply, Times: 1},
		{Op: gatewaytest.OpEvents, Kind: gatewaytest.FaultThrottle, Skip: 2, Times: 1},
	}})
	r.run()
	r.send(&entrustbus.Issue{ID: "far", CSRPEM: csr(t, "far")})
	if res := r.result("far"); res.Outcome != entrustbus.OutcomeIssued || res.Submissions != 1 {
		t.Errorf("result is %+v (error %+v)", res, res.Error)
	}
	if n := r.sim.Stats().Requests[gatewaytest.OpEvents]; n != 5 {
		t.Errorf("%d pages were asked for, want 5: three empty, the match, and one again", n)
	}
	if !strings.Contains(r.log.String(), "the gateway asked for a pause") {
		t.Error("the worker did not pass the pause on to the fleet")
	}
}

// A look-up that must wait for longer than a call may take waits in its wake-up, not in flight.
func TestLookUpPausedForLong(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	r.runWith(&enroller{
		enroll: func(context.Context, gateway.Enrollment) (gateway.Answer, error) {
			return gateway.Answer{}, &gateway.Error{Op: gateway.OpEnroll, Fate: gateway.Unknown, Class: "timeout", Message: "lost"}
		},
		search: func(ctx context.Context, s gateway.Search) error {
			return s.Wait(ctx, &gateway.Error{Op: gateway.OpFind, Fate: gateway.Throttled, Class: "rate_limited", HTTPStatus: 429, RetryAfter: time.Hour})
		},
	})
	r.send(&entrustbus.Issue{ID: "o", CSRPEM: csr(t, "o")})
	r.eventually("the look-up in its wake-up", func() bool {
		rec := r.record("o")
		return rec.Phase == order.Indeterminate && rec.Tries == 1 && rec.Waited > 0
	})
}

// A Retry-After about one order pauses no other order.
func TestRetryAfterOfARefusal(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{Faults: []gatewaytest.Fault{
		{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultStatus, Status: 409, RetryAfter: time.Hour, Times: 1},
	}})
	r.run()
	r.send(&entrustbus.Issue{ID: "bad", CSRPEM: csr(t, "bad")})
	if res := r.result("bad"); res.Outcome != entrustbus.OutcomeFailed {
		t.Errorf("result is %+v (error %+v)", res, res.Error)
	}
	r.send(&entrustbus.Issue{ID: "good", CSRPEM: csr(t, "good")})
	if res := r.result("good"); res.Outcome != entrustbus.OutcomeIssued {
		t.Errorf("result is %+v (error %+v)", res, res.Error)
	}
}

// After an enrollment that took longer than the grace time, its order has the whole grace time
// to become visible.
func TestGraceAfterASlowEnrollment(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{PendingFraction: 1, ApproveAfter: time.Second, Faults: []gatewaytest.Fault{
		{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultLatency, Delay: 1500 * time.Millisecond},
		{Op: gatewaytest.OpPoll, Kind: gatewaytest.FaultStatus, Status: 404, Times: 1},
	}})
	r.gwcfg.EnrollTimeout, r.gwcfg.NotFoundGrace = 20*time.Second, time.Second
	r.cfg.EnrollTimeout = r.gwcfg.EnrollTimeout
	r.run()
	r.send(&entrustbus.Issue{ID: "slow", CSRPEM: csr(t, "slow")})
	if res := r.result("slow"); res.Outcome != entrustbus.OutcomeIssued {
		t.Errorf("result is %+v (error %+v)", res, res.Error)
	}
}

// A certificate for a request with a common name only must have that name.
func TestWrongCommonName(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r.runWith(&enroller{enroll: func(_ context.Context, e gateway.Enrollment) (gateway.Answer, error) {
		template := &x509.Certificate{SerialNumber: big.NewInt(0xbad), NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour), Subject: e.CSR.Subject}
		if e.SubjectDN == "" {
			template.Subject.CommonName = "other.example.net"
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, e.CSR.PublicKey, key)
		return gateway.Answer{State: gateway.Issued, Certificate: der}, err
	}})
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "shop.example.net"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	r.send(&entrustbus.Issue{ID: "cn", CSRDER: der})
	if res := r.result("cn"); res.Outcome != entrustbus.OutcomeFailed || res.Error.Code != "wrong_certificate" || res.Serial != "bad" {
		t.Errorf("result is %+v (error %+v)", res, res.Error)
	}
	r.send(&entrustbus.Issue{ID: "dn", CSRDER: der, SubjectDN: "O=Example"}) // the producer chose the subject
	if res := r.result("dn"); res.Outcome != entrustbus.OutcomeIssued {
		t.Errorf("result is %+v (error %+v)", res, res.Error)
	}
}
