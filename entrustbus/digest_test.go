package entrustbus_test

import (
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/entrustbus/entrustbustest"
)

func digest(t testing.TB, r entrustbus.Request) string {
	t.Helper()
	d, err := entrustbus.Digest(r)
	if err != nil {
		t.Fatalf("%+v: %v", r, err)
	}
	return hex.EncodeToString(d[:])
}

func TestDigestOfEqualContent(t *testing.T) {
	t.Parallel()
	text, der := testdata(t, "request.pem"), csrDER(t)
	labels := map[string]string{"a": "1", "b": "2", "c": "3"}
	for name, same := range map[string][]entrustbus.Request{
		"issue": {
			&entrustbus.Issue{ID: "a", CSRPEM: text, Labels: labels},
			&entrustbus.Issue{ID: "b", CSRDER: der, Labels: maps.Clone(labels)},
			&entrustbus.Issue{ID: "a", CSRPEM: "\n" + strings.ReplaceAll(text, "\n", "\r\n"), Labels: labels, CommonName: "shop.example.net"},
			&entrustbus.Issue{ID: "a", CSRPEM: "text around\n" + text, Labels: map[string]string{"other": "label"}, Strict: true},
		},
		"sans": {
			&entrustbus.Issue{CSRDER: der, SANs: []string{"a.example", "ip:::1"}},
			&entrustbus.Issue{CSRDER: der, SANs: []string{"0:0::1", "dns:A.example", "a.example"}},
		},
		"sets": {
			&entrustbus.Issue{CSRDER: der, EKUs: []string{"serverAuth", "clientAuth"}, Properties: map[string]any{"a": int64(1), "b": []any{"x"}}},
			&entrustbus.Issue{CSRDER: der, EKUs: []string{"CLIENTAUTH", "serverauth", "clientAuth"}, Properties: map[string]any{"b": []string{"x"}, "a": 1.0}},
		},
		"revoke": {
			&entrustbus.Revoke{Serial: "1234abcd", Reason: "keyCompromise"},
			&entrustbus.Revoke{Serial: "0x00:12:34:AB:CD", Reason: "KeyCompromise"},
			&entrustbus.Revoke{SerialDecimal: "305441741", Reason: "key_compromise"},
			&entrustbus.Revoke{CertificatePEM: testdata(t, "certificate.pem"), Reason: "keyCompromise"},
		},
		"track": {
			&entrustbus.Track{TrackingID: "t", CSRPEM: text},
			&entrustbus.Track{TrackingID: "t", CSRDER: der},
		},
	} {
		for i, r := range same {
			if got, want := digest(t, r), digest(t, same[0]); got != want {
				t.Errorf("%s %d: got %s, want %s", name, i, got, want)
			}
		}
	}
	// The digest does not depend on how the request was sent.
	for name, r := range sampleRequests(t) {
		for _, enc := range encodings {
			body, err := entrustbus.EncodeRequest(enc, r)
			if err != nil {
				t.Fatal(err)
			}
			decoded, err := entrustbus.DecodeRequest(r.Kind(), enc, body)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := digest(t, decoded), digest(t, r); got != want {
				t.Errorf("%s in %v: got %s, want %s", name, enc, got, want)
			}
		}
	}
}

func TestDigestOfOtherContent(t *testing.T) {
	t.Parallel()
	_, other := entrustbustest.CSR("shop.example.net")
	issue := entrustbus.Issue{CSRPEM: testdata(t, "request.pem")}
	with := func(change func(*entrustbus.Issue)) *entrustbus.Issue {
		r := issue
		change(&r)
		return &r
	}
	all := map[string]entrustbus.Request{
		"issue":       &issue,
		"other key":   with(func(r *entrustbus.Issue) { r.CSRPEM = other }),
		"san":         with(func(r *entrustbus.Issue) { r.SANs = []string{"a"} }),
		"san uri":     with(func(r *entrustbus.Issue) { r.SANs = []string{"uri:a:b"} }),
		"two sans":    with(func(r *entrustbus.Issue) { r.SANs = []string{"a", "b"} }),
		"subject":     with(func(r *entrustbus.Issue) { r.SubjectDN = "a=b" }),
		"profile":     with(func(r *entrustbus.Issue) { r.ProfileID = "a=b" }),
		"ca":          with(func(r *entrustbus.Issue) { r.CAID = "a=b" }),
		"validity":    with(func(r *entrustbus.Issue) { r.ValiditySeconds = 60 }),
		"wait":        with(func(r *entrustbus.Issue) { r.PollMaxWaitSeconds = 60 }),
		"cap":         with(func(r *entrustbus.Issue) { r.MaxValiditySeconds = 60 }),
		"period":      with(func(r *entrustbus.Issue) { r.ValidityPeriod = "P60D" }),
		"omit":        with(func(r *entrustbus.Issue) { r.SubjectDN = "omit" }),
		"property":    with(func(r *entrustbus.Issue) { r.Properties = map[string]any{"a": "bc"} }),
		"shifted":     with(func(r *entrustbus.Issue) { r.Properties = map[string]any{"ab": "c"} }),
		"number":      with(func(r *entrustbus.Issue) { r.Properties = map[string]any{"a": int64(1)} }),
		"number text": with(func(r *entrustbus.Issue) { r.Properties = map[string]any{"a": "1"} }),
		"list":        with(func(r *entrustbus.Issue) { r.Properties = map[string]any{"a": []any{"bc"}} }),
		"variable":    with(func(r *entrustbus.Issue) { r.SubjectVariables = []entrustbus.SubjectVariable{{Type: "a", Value: "bc"}} }),
		"variable 2":  with(func(r *entrustbus.Issue) { r.SubjectVariables = []entrustbus.SubjectVariable{{Type: "ab", Value: "c"}} }),
		"extension":   with(func(r *entrustbus.Issue) { r.Extensions = []entrustbus.Extension{{OID: "1.2", Value: []byte{5, 0}}} }),
		"critical": with(func(r *entrustbus.Issue) {
			r.Extensions = []entrustbus.Extension{{OID: "1.2", Critical: true, Value: []byte{5, 0}}}
		}),
		"eku":          with(func(r *entrustbus.Issue) { r.EKUs = []string{"serverAuth"} }),
		"staple":       with(func(r *entrustbus.Issue) { r.MustStaple = true }),
		"crl":          &entrustbus.Revoke{Serial: "11", IssueCRL: true},
		"complete":     &entrustbus.Complete{Order: "t", CertificatePEM: testdata(t, "certificate.pem")},
		"resolve":      &entrustbus.Resolve{Order: "t"},
		"resolve why":  &entrustbus.Resolve{Order: "t", Comment: "u"},
		"track":        &entrustbus.Track{TrackingID: "t", CSRPEM: testdata(t, "request.pem")},
		"track bare":   &entrustbus.Track{TrackingID: "t"},
		"revoke":       &entrustbus.Revoke{Serial: "11"},
		"decimal":      &entrustbus.Revoke{SerialDecimal: "11"},
		"reason":       &entrustbus.Revoke{Serial: "11", Reason: "superseded"},
		"unspecified":  &entrustbus.Revoke{Serial: "11", Reason: "unspecified"},
		"comment":      &entrustbus.Revoke{Serial: "11", Comment: "superseded"},
		"cancel":       &entrustbus.Cancel{Order: "t"},
		"cancel other": &entrustbus.Cancel{Order: "u"},
	}
	seen := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		d := digest(t, all[name])
		if twin, ok := seen[d]; ok {
			t.Errorf("%q and %q have one digest", name, twin)
		}
		seen[d] = name
	}
	if _, err := entrustbus.Digest(&entrustbus.Issue{CSRPEM: "x"}); err == nil {
		t.Error("a request without a readable certificate request has a digest")
	}
}

// The digest is kept in ledgers: a new version that computed another one would call every repetition a conflict.
func TestDigestStays(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"issue-full":     "e11a30041963bffac2fc2f4c8697bbc0869c0ef66cdd04ab80c99c974564018d",
		"revoke-decimal": "2cebb2622f2ddfbb3c3d489853e0f6f2adea246253693c74787142c25384ba83",
		"track-full":     "a1beaa4fec12bc963dcad0b39a7d9d6a3b123772e0ff1f7019b6034365eabebe",
		"cancel":         "29d2d95716eef02e05969ccb79de652e3ae7a3b190710f7e32a0ec9b02f9dfb1",
	} {
		if got := digest(t, sampleRequests(t)[name]); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}
