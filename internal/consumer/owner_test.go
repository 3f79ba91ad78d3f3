package consumer_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/certs"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/keys"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/policy"
)

// owning gives the worker a policy under which the tests' producer, and another one, may revoke
// these serials: own, any or none.
func (r *rig) owning(serials string) {
	r.t.Helper()
	rules := "\n    kinds: [issue, revoke, track]\n    names: {dns: {suffixes: [good, good.example.net]}}\n    revoke: {serials: " + serials + ", reasons: ['*']}\n"
	p, err := policy.Parse([]byte("producers:\n  " + producer + ":" + rules + "  web:" + rules))
	if err != nil {
		r.t.Fatal(err)
	}
	r.cfg.Policy = func() *policy.Policy { return p }
}

func (r *rig) certs() *certs.Store { return certs.New(r.js, r.layout.Certs) }
func (r *rig) keys() *keys.Store   { return keys.New(r.js, r.layout.Keys) }

// wantDenied checks that the policy refused an order by a rule.
func (r *rig) wantDenied(id, rule string, replay ...int) {
	r.t.Helper()
	res := r.result(id, replay...)
	if res.Outcome != entrustbus.OutcomeRejected || res.Submissions != 0 || res.Error == nil || res.Error.Class != entrustbus.ClassPolicy ||
		res.Error.Code != order.CodeDenied || !strings.Contains(res.Error.Message, "(rule "+rule+")") {
		r.t.Errorf("%s: result is %+v (error %+v), want a refusal by %s", id, res, res.Error, rule)
	}
}

func (r *rig) wantOutcome(id string, want entrustbus.Outcome, replay ...int) *entrustbus.Result {
	r.t.Helper()
	res := r.result(id, replay...)
	if res.Outcome != want {
		r.t.Errorf("%s: result is %+v (error %+v), want %s", id, res, res.Error, want)
	}
	return res
}

// Under own, a producer revokes certificates that were issued to it. It may not revoke other
// certificates: those of another producer, those issued before the worker stored owners, and
// those that a track request fetched.
func TestProducersRevokeTheirOwn(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	r.owning(policy.SerialsOwn)
	stop := r.run()
	r.send(&entrustbus.Issue{ID: "mine", CSRPEM: csr(t, "a.good")})
	mine := r.wantOutcome("mine", entrustbus.OutcomeIssued)
	got, err := r.certs().Get(t.Context(), mine.CAID, mine.Serial)
	if err != nil || got.Producer != producer || got.Order != "mine" || got.Key != keyOf(t, mine.CertificatePEM) ||
		got.Names != "dns:a.good.example.net" || got.CAID != mine.CAID || got.ProfileID != mine.ProfileID || !got.NotAfter.Equal(mine.NotAfter) {
		t.Errorf("what is kept of the certificate is %+v (%v)", got, err)
	}
	for id, of := range map[string]*certs.Certificate{"0a": {Producer: "web", Order: "a", Key: got.Key}, "0b": nil} {
		if of != nil {
			if err := r.certs().Put(t.Context(), r.sim.CAID(), strings.TrimLeft(id, "0"), *of, time.Hour); err != nil {
				t.Fatal(err)
			}
		}
		r.send(&entrustbus.Revoke{ID: "revoke-" + id, Serial: id})
		r.wantDenied("revoke-"+id, "revoke.serials")
	}
	r.wantLetters(order.Denied, order.Denied)
	r.send(&entrustbus.Revoke{ID: "revoke-mine", SerialDecimal: mine.SerialDecimal})
	r.wantOutcome("revoke-mine", entrustbus.OutcomeRevoked)
	// A hold is lifted, and a second reason follows the first: the certificate stays the
	// producer's.
	r.send(&entrustbus.Revoke{ID: "revoke-again", Serial: mine.Serial, Reason: "superseded"})
	r.wantOutcome("revoke-again", entrustbus.OutcomeRevoked)
	stop()

	r.owning(policy.SerialsNone)
	stop = r.run()
	r.send(&entrustbus.Revoke{ID: "none", Serial: mine.Serial})
	r.wantDenied("none", "revoke.serials")
	stop()

	r.owning(policy.SerialsAny)
	r.run()
	r.send(&entrustbus.Revoke{ID: "any", Serial: mine.Serial})
	r.wantOutcome("any", entrustbus.OutcomeRevoked)
	r.quiet()
}

// A track request fetches a certificate and gives it no owner.
func TestTrackGivesNoOwnership(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{PendingFraction: 1})
	r.owning(policy.SerialsOwn)
	r.run()
	r.send(&entrustbus.Issue{ID: "theirs", CSRPEM: csr(t, "a.good"), PollMaxWaitSeconds: 1})
	expired := r.wantOutcome("theirs", entrustbus.OutcomeExpired)
	if _, err := r.sim.ApproveAll(0); err != nil {
		t.Fatal(err)
	}
	r.send(&entrustbus.Track{ID: "track", TrackingID: expired.TrackingID})
	tracked := r.wantOutcome("track", entrustbus.OutcomeIssued)
	if got, err := r.certs().Get(t.Context(), tracked.CAID, tracked.Serial); err != nil || got.Producer != "" {
		t.Errorf("what is kept of the certificate is %+v (%v)", got, err)
	}
	r.send(&entrustbus.Revoke{ID: "revoke", Serial: tracked.Serial})
	r.wantDenied("revoke", "revoke.serials")
}

// A key that was revoked for compromise is refused, by every kind of revocation, until an
// operator unblocks it. Another reason blocks nothing.
func TestCompromisedKeysAreRefused(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	r.owning(policy.SerialsAny)
	r.run()
	request := csr(t, "a.good")
	r.send(&entrustbus.Issue{ID: "first", CSRPEM: request})
	first := r.wantOutcome("first", entrustbus.OutcomeIssued)
	hash := keyOf(t, first.CertificatePEM)
	blocked := func(want bool) keys.Block {
		t.Helper()
		b, got, err := r.keys().Get(t.Context(), hash)
		if err != nil || got != want {
			t.Fatalf("the key is blocked: %t (%v), want %t", got, err, want)
		}
		return b
	}

	r.send(&entrustbus.Revoke{ID: "superseded", Serial: first.Serial, Reason: "superseded"})
	r.wantOutcome("superseded", entrustbus.OutcomeRevoked)
	blocked(false)
	r.send(&entrustbus.Revoke{ID: "compromised", Serial: first.Serial, Reason: "key_compromise"})
	r.wantOutcome("compromised", entrustbus.OutcomeRevoked)
	if b := blocked(true); b.Reason != "keyCompromise" || b.Producer != producer || b.Order != "compromised" {
		t.Errorf("the block is %+v", b)
	}
	r.send(&entrustbus.Issue{ID: "second", CSRPEM: request})
	r.wantDenied("second", "blocked_keys")
	r.send(&entrustbus.Issue{ID: "other", CSRPEM: csr(t, "b.good")})
	other := r.wantOutcome("other", entrustbus.OutcomeIssued)

	if _, err := r.keys().Remove(t.Context(), hash); err != nil {
		t.Fatal(err)
	}
	r.replay(&entrustbus.Issue{ID: "second", CSRPEM: request}, 1)
	r.wantOutcome("second", entrustbus.OutcomeIssued, 1)

	// The worker's stored entry names the key, whatever the request says.
	r.send(&entrustbus.Revoke{ID: "forged", CertificatePEM: certificateLike(t, other.CertificatePEM, first.Serial), Reason: "1"})
	r.wantOutcome("forged", entrustbus.OutcomeRevoked)
	blocked(true)
	hash = keyOf(t, other.CertificatePEM)
	blocked(false)
	// Without an entry, the request names the key.
	kv, err := r.js.KeyValue(t.Context(), r.layout.Certs)
	if err != nil {
		t.Fatal(err)
	}
	all, err := kv.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range all {
		if err := kv.Purge(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	r.send(&entrustbus.Revoke{ID: "unknown", Serial: other.Serial, Reason: "1"})
	r.wantOutcome("unknown", entrustbus.OutcomeRevoked)
	blocked(false)
	r.send(&entrustbus.Revoke{ID: "by-certificate", CertificatePEM: other.CertificatePEM, Reason: "1"})
	r.wantOutcome("by-certificate", entrustbus.OutcomeRevoked)
	blocked(true)
	r.quiet()
}

// keyOf is the hash of the key of a certificate.
func keyOf(t *testing.T, text string) string {
	t.Helper()
	return keys.Hash(parsed(t, text).RawSubjectPublicKeyInfo)
}

func parsed(t *testing.T, text string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatal("no PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// certificateLike invents a certificate with the key of another one and a serial number.
func certificateLike(t *testing.T, text, serial string) string {
	t.Helper()
	n, ok := new(big.Int).SetString(serial, 16)
	if !ok {
		t.Fatalf("the serial number %q", serial)
	}
	_, signer, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: n, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, parsed(t, text).PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	return entrustbus.CertificatePEM(der)
}

// The entry of a certificate exists before its result: a worker that cannot write the entry
// publishes nothing. When a worker ended between the two writes, the next one does both.
func TestCertificateIsKeptBeforeItsResult(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		refused func(*rig) string // subjects that cannot be written
		kept    int
	}{
		{"no entry", func(r *rig) string { return "$KV." + r.layout.Certs + "." }, 0},
		{"entry, no result", func(r *rig) string { return r.layout.Prefix + ".result." }, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := setup(t, gatewaytest.Config{})
			r.owning(policy.SerialsOwn)
			js := &unwilling{JetStream: r.server.JetStream(t), subject: tt.refused(r)}
			stop := r.runOn(js, r.client())
			r.send(&entrustbus.Issue{ID: "one", CSRPEM: csr(t, "a.good")})
			r.eventually("a second try", func() bool { return js.refused.Load() > 1 })
			if results, kept := r.count(r.layout.Results), r.count("KV_"+r.layout.Certs); results != 0 || kept != uint64(tt.kept) {
				t.Errorf("%d results and %d entries, want none and %d", results, kept, tt.kept)
			}
			stop()
			r.run()
			res := r.wantOutcome("one", entrustbus.OutcomeIssued)
			if got, err := r.certs().Get(t.Context(), res.CAID, res.Serial); err != nil || got.Producer != producer {
				t.Errorf("what is kept of the certificate is %+v (%v)", got, err)
			}
			if n, kept := r.enrolled(), r.count("KV_"+r.layout.Certs); n != 1 || kept != 1 {
				t.Errorf("%d enrollments, %d entries", n, kept)
			}
			r.quiet()
		})
	}
}

// unwilling refuses messages below a subject, like a full stream.
type unwilling struct {
	jetstream.JetStream
	subject string
	refused atomic.Int64
}

func (u *unwilling) PublishMsg(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	if strings.HasPrefix(m.Subject, u.subject) {
		u.refused.Add(1)
		return nil, errors.New("no room")
	}
	return u.JetStream.PublishMsg(ctx, m, opts...)
}
