package entrustbus_test

import (
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

var encodings = []entrustbus.Encoding{entrustbus.EncodingMsgpack, entrustbus.EncodingJSON}

func testdata(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func csrDER(t testing.TB) []byte {
	t.Helper()
	block, _ := pem.Decode([]byte(testdata(t, "request.pem")))
	return block.Bytes
}

// sampleRequests has every key of every kind somewhere.
func sampleRequests(t testing.TB) map[string]entrustbus.Request {
	t.Helper()
	return map[string]entrustbus.Request{
		"issue": &entrustbus.Issue{ID: "order-1", CSRPEM: testdata(t, "request.pem")},
		"issue-full": &entrustbus.Issue{
			ID: "order-2", CSRDER: csrDER(t), CommonName: "shop.example.net",
			SANs:      []string{"shop.example.net", "dns:*.shop.example.net", "ip:2001:db8::7", "email:pki@example.net", "uri:urn:example:shop"},
			SubjectDN: "CN=shop.example.net,O=Example <&> Söhne", ProfileID: "tls-server", CAID: "ca-1",
			ValiditySeconds: 90 * 86400, PollMaxWaitSeconds: 86400,
			Labels: map[string]string{"team": "shop", "app": "front <&>"},
		},
		"issue-more": &entrustbus.Issue{
			ID: "order-8", CSRPEM: testdata(t, "request.pem"), SubjectDN: entrustbus.SubjectOmit, MaxValiditySeconds: 30 * 86400,
			Properties:       map[string]any{"team": "shop", "seats": int64(3), "share": 0.5, "internal": true, "hosts": []any{"a", int64(1)}},
			SubjectVariables: []entrustbus.SubjectVariable{{Type: "CN", Value: "shop.example.net"}, {Type: "O", Value: "Söhne"}},
			Extensions:       []entrustbus.Extension{{OID: "1.3.6.1.4.1.99999.1", Critical: true, Value: []byte{0x05, 0}}, {OID: "2.5.29.32", Value: []byte{0x30, 0}}},
			EKUs:             []string{"serverAuth", "1.3.6.1.5.5.7.3.2"}, MustStaple: true, Strict: true,
		},
		"issue-period": &entrustbus.Issue{ID: "order-9", CSRPEM: testdata(t, "request.pem"), ValidityPeriod: "2026-11-28T13:00Z/P1Y3M0DT0H0M"},
		"revoke":       &entrustbus.Revoke{ID: "revoke-1", Serial: "0x12:34:AB:CD"},
		"revoke-decimal": &entrustbus.Revoke{
			ID: "revoke-2", SerialDecimal: "305441741", Reason: "keyCompromise", Comment: "laptop lost", CAID: "ca-1",
			Labels: map[string]string{"ticket": "4711"},
		},
		"revoke-certificate": &entrustbus.Revoke{ID: "revoke-3", CertificatePEM: testdata(t, "certificate.pem"), Reason: "superseded"},
		"track":              &entrustbus.Track{ID: "track-1", TrackingID: "7f0c2a5e/1"},
		"track-full": &entrustbus.Track{
			ID: "track-2", TrackingID: "7f0c2a5e/1", CSRPEM: testdata(t, "request.pem"), CAID: "ca-1", PollMaxWaitSeconds: 600,
			Labels: map[string]string{"team": "shop"},
		},
		"track-der":     &entrustbus.Track{ID: "track-3", TrackingID: "7f0c2a5e/1", CSRDER: csrDER(t)},
		"revoke-lift":   &entrustbus.Revoke{ID: "revoke-4", Serial: "1234abcd", Reason: "removeFromCRL", IssueCRL: true, Strict: true},
		"track-strict":  &entrustbus.Track{ID: "track-4", TrackingID: "7f0c2a5e/1", Strict: true},
		"cancel-strict": &entrustbus.Cancel{ID: "cancel-2", Order: "order-2", Strict: true},
		"complete":      &entrustbus.Complete{ID: "complete-1", Order: "order-6", CertificatePEM: testdata(t, "certificate.pem")},
		"resolve":       &entrustbus.Resolve{ID: "resolve-1", Order: "order-6", Comment: "the gateway's log shows none"},
		"cancel":        &entrustbus.Cancel{ID: "cancel-1", Order: "order-2", Labels: map[string]string{"why": "changed our mind"}},
	}
}

// sampleResults has every outcome and every key somewhere.
func sampleResults(t testing.TB) map[string]*entrustbus.Result {
	t.Helper()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	base := func(id string, kind entrustbus.Kind, outcome entrustbus.Outcome) entrustbus.Result {
		return entrustbus.Result{
			Version: entrustbus.Version, ID: id, Producer: "shop", Kind: kind, Outcome: outcome, CAID: "ca-1", Submissions: 1,
			RequestedAt: at, SubmittedAt: at.Add(20 * time.Millisecond), FinishedAt: at.Add(1500*time.Millisecond + 7),
		}
	}
	issued := base("order-2", entrustbus.KindIssue, entrustbus.OutcomeIssued)
	issued.CertificatePEM, issued.ChainPEM = testdata(t, "certificate.pem"), testdata(t, "certificate.pem")
	issued.Serial, issued.SerialDecimal = "1234abcd", "305441741"
	issued.NotBefore, issued.NotAfter = at.Add(-time.Hour), at.AddDate(0, 3, 0)
	issued.TrackingID, issued.ProfileID, issued.Polls = "7f0c2a5e/1", "tls-server", 3
	issued.Warnings = []string{`unknown key "profile" is ignored: did you mean "profile_id"?`}
	issued.Labels = map[string]string{"team": "shop", "app": "front <&>"}

	revoked := base("revoke-1", entrustbus.KindRevoke, entrustbus.OutcomeRevoked)
	revoked.Serial, revoked.SerialDecimal = "1234abcd", "305441741"

	rejected := base("order-3", entrustbus.KindIssue, entrustbus.OutcomeRejected)
	rejected.Error = &entrustbus.ResultError{Class: entrustbus.ClassPolicy, Code: "REJECTED", Message: "an approver said no"}
	rejected.TrackingID, rejected.Polls = "7f0c2a5e/3", 12

	failed := base("order-4", entrustbus.KindIssue, entrustbus.OutcomeFailed)
	failed.Error = &entrustbus.ResultError{Class: entrustbus.ClassUpstream4xx, Code: "E42", Message: "profile unknown", HTTPStatus: 400}

	expired := base("order-5", entrustbus.KindTrack, entrustbus.OutcomeExpired)
	expired.Error = &entrustbus.ResultError{Class: entrustbus.ClassTimeout}
	expired.TrackingID, expired.Polls = "7f0c2a5e/5", 8

	unconfirmed := base("order-6", entrustbus.KindIssue, entrustbus.OutcomeUnconfirmed)
	unconfirmed.Error = &entrustbus.ResultError{Class: entrustbus.ClassNetwork, Message: "the answer was lost"}
	unconfirmed.PossibleDuplicate, unconfirmed.Submissions, unconfirmed.Replay = true, 2, 1

	cancelled := base("order-7", entrustbus.KindCancel, entrustbus.OutcomeCancelled)
	cancelled.SubmittedAt, cancelled.Submissions = time.Time{}, 0
	return map[string]*entrustbus.Result{
		"issued": &issued, "revoked": &revoked, "rejected": &rejected, "failed": &failed, "expired": &expired,
		"unconfirmed": &unconfirmed, "cancelled": &cancelled,
	}
}
