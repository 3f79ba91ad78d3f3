package consumer_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/policy"
)

// signing is a rig whose producer must sign its requests.
type signing struct {
	*rig
	key entrustbus.SigningKey
}

func setupSigning(t *testing.T) *signing {
	t.Helper()
	s := &signing{rig: setup(t, gatewaytest.Config{}), key: signingKey(1)}
	public := base64.StdEncoding.EncodeToString(s.key.Key.Public().(ed25519.PublicKey))
	p := rules(t, "good", "    signatures: {keys: {k: "+public+"}}\n")
	s.cfg.Policy = func() *policy.Policy { return p }
	return s
}

func signingKey(n byte) entrustbus.SigningKey {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = n
	return entrustbus.SigningKey{ID: "k", Key: ed25519.NewKeyFromSeed(seed)}
}

// message is a request as its producer publishes it, signed at an instant.
func (s *signing) message(req entrustbus.Request, key entrustbus.SigningKey, at time.Time) *order.Message {
	s.t.Helper()
	body, err := entrustbus.EncodeRequest(entrustbus.EncodingJSON, req)
	if err != nil {
		s.t.Fatal(err)
	}
	m := &order.Message{Subject: s.layout.Subjects().Request(producer, req.Kind()), Header: map[string][]string{}, Body: body}
	for name, value := range key.Sign(m.Subject, req.OrderID(), at, body) {
		m.Header[name] = []string{value}
	}
	return m
}

// sent publishes a message with additional headers.
func (s *signing) sent(kind entrustbus.Kind, m *order.Message, header ...string) {
	s.t.Helper()
	for name, values := range m.Header {
		header = append(header, name, values[0])
	}
	s.publish(kind, m.Body, header...)
}

// A producer must sign: its bus password alone gets no certificate, and neither does a copy of
// a signed request.
func TestSignedRequests(t *testing.T) {
	t.Parallel()
	s := setupSigning(t)
	s.run()
	now := time.Now()
	issue := func(id string) *entrustbus.Issue { return &entrustbus.Issue{ID: id, CSRPEM: csr(t, "a.good")} }
	good := s.message(issue("good"), s.key, now)
	s.sent(entrustbus.KindIssue, good)
	s.wantOutcome("good", entrustbus.OutcomeIssued)

	s.send(issue("unsigned"))
	s.wantDenied("unsigned", "signatures")
	s.sent(entrustbus.KindIssue, s.message(issue("stranger"), signingKey(2), now))
	s.wantDenied("stranger", "signatures")
	s.sent(entrustbus.KindIssue, s.message(issue("old"), s.key, now.Add(-policy.DefaultWindow-time.Minute)))
	s.wantDenied("old", "signatures")
	s.sent(entrustbus.KindIssue, s.message(issue("early"), s.key, now.Add(policy.DefaultWindow+time.Minute)))
	s.wantDenied("early", "signatures")
	other := s.message(issue("other"), s.key, now)
	other.Body = s.message(issue("changed"), s.key, now).Body
	s.sent(entrustbus.KindIssue, other)
	s.wantDenied("changed", "signatures")
	s.wantLetters(order.Denied, order.Denied, order.Denied, order.Denied, order.Denied)

	s.closed("good")
	s.sent(entrustbus.KindIssue, good) // a copy, which the ledger recognises
	s.quiet()
	if n := s.enrolled(); n != 1 {
		t.Errorf("%d enrollments, want 1", n)
	}
}

// An operator's replay repeats only what the producer signed, at any age. An operator's own
// request needs no signature.
func TestOperatorsRepeatWhatWasSigned(t *testing.T) {
	t.Parallel()
	s := setupSigning(t)
	s.run()
	old := &entrustbus.Issue{ID: "old", CSRPEM: csr(t, "a.good")}
	signed := s.message(old, s.key, time.Now().Add(-time.Hour))
	s.sent(entrustbus.KindIssue, signed)
	s.wantDenied("old", "signatures")
	forged := &entrustbus.Issue{ID: "forged", CSRPEM: csr(t, "b.good")}
	s.send(forged)
	s.wantDenied("forged", "signatures")

	s.closed("old")
	s.sent(entrustbus.KindIssue, signed, entrustbus.HeaderReplay, "1", order.HeaderRepeats, signed.Subject)
	s.wantOutcome("old", entrustbus.OutcomeIssued, 1)
	s.closed("forged")
	s.send(forged, entrustbus.HeaderReplay, "1", order.HeaderRepeats, signed.Subject)
	s.wantDenied("forged", "signatures", 1)

	s.send(&entrustbus.Issue{ID: "own", CSRPEM: csr(t, "c.good")}, entrustbus.HeaderReplay, "0")
	s.wantOutcome("own", entrustbus.OutcomeIssued)
	// The header alone does not make a producer an operator.
	s.send(&entrustbus.Issue{ID: "posing", CSRPEM: csr(t, "d.good")}, order.HeaderRepeats, "")
	s.wantDenied("posing", "signatures")
	s.quiet()
}

// The time of signing is compared with the time at which the server first stored the request.
// So a request that waited for hours is not too old.
func TestSignatureOfWhatWaited(t *testing.T) {
	t.Parallel()
	s := setupSigning(t)
	published := time.Now().Add(-5 * time.Hour).UTC()
	for id, at := range map[string]time.Time{"waited": published, "late": time.Now()} {
		req := &entrustbus.Issue{ID: id, CSRPEM: csr(t, "a.good")}
		digest, err := entrustbus.Digest(req)
		if err != nil {
			t.Fatal(err)
		}
		m := s.message(req, s.key, at)
		s.write(id, order.Record{
			Phase: order.Unaccepted, Kind: entrustbus.KindIssue, Digest: digest[:], RequestedAt: published, CAID: s.cfg.CAID, ProfileID: s.cfg.ProfileID,
			Cause: &entrustbus.ResultError{Class: entrustbus.ClassNetwork, Message: "no connection"}, Request: m,
		})
		s.wake(&order.Wakeup{Key: order.Key{Producer: producer, ID: id}, Kind: entrustbus.KindIssue, Lane: order.LaneResubmit, RequestedAt: published, Request: m})
	}
	s.run()
	s.wantOutcome("waited", entrustbus.OutcomeIssued)
	s.wantDenied("late", "signatures")
	s.quiet()
}
