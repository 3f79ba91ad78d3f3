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
		},
		"sans": {
			&entrustbus.Issue{CSRDER: der, SANs: []string{"a.example", "ip:::1"}},
			&entrustbus.Issue{CSRDER: der, SANs: []string{"0:0::1", "dns:A.example", "a.example"}},
		},
		"revoke": {
			&entrustbus.Revoke{Serial: "1234abcd", Reason: "keyCompromise"},
			&entrustbus.Revoke{Serial: "0x00:12:34:AB:CD", Reason: "KeyCompromise"},
			&entrustbus.Revoke{SerialDecimal: "305441741", Reason: "KEYCOMPROMISE"},
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
		"issue":         &issue,
		"other key":     with(func(r *entrustbus.Issue) { r.CSRPEM = other }),
		"san":           with(func(r *entrustbus.Issue) { r.SANs = []string{"a"} }),
		"san uri":       with(func(r *entrustbus.Issue) { r.SANs = []string{"uri:a:b"} }),
		"two sans":      with(func(r *entrustbus.Issue) { r.SANs = []string{"a", "b"} }),
		"subject":       with(func(r *entrustbus.Issue) { r.SubjectDN = "a=b" }),
		"profile":       with(func(r *entrustbus.Issue) { r.ProfileID = "a=b" }),
		"ca":            with(func(r *entrustbus.Issue) { r.CAID = "a=b" }),
		"validity":      with(func(r *entrustbus.Issue) { r.ValiditySeconds = 60 }),
		"wait":          with(func(r *entrustbus.Issue) { r.PollMaxWaitSeconds = 60 }),
		"label":         with(func(r *entrustbus.Issue) { r.Labels = map[string]string{"a": "bc"} }),
		"label shifted": with(func(r *entrustbus.Issue) { r.Labels = map[string]string{"ab": "c"} }),
		"empty label":   with(func(r *entrustbus.Issue) { r.Labels = map[string]string{"a": ""} }),
		"two labels":    with(func(r *entrustbus.Issue) { r.Labels = map[string]string{"a": "", "b": ""} }),
		"track":         &entrustbus.Track{TrackingID: "t", CSRPEM: testdata(t, "request.pem")},
		"track bare":    &entrustbus.Track{TrackingID: "t"},
		"revoke":        &entrustbus.Revoke{Serial: "11"},
		"decimal":       &entrustbus.Revoke{SerialDecimal: "11"},
		"reason":        &entrustbus.Revoke{Serial: "11", Reason: "superseded"},
		"unspecified":   &entrustbus.Revoke{Serial: "11", Reason: "unspecified"},
		"comment":       &entrustbus.Revoke{Serial: "11", Comment: "superseded"},
		"cancel":        &entrustbus.Cancel{Order: "t"},
		"cancel other":  &entrustbus.Cancel{Order: "u"},
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
		"issue-full":     "a5f1f8e1f4d354a8a7c675a8e27f82d8975b4ad4ad578c463fb9066242ddb2fa",
		"revoke-decimal": "203673c6695f2743143ec4298cd0edc0703d1e6e4c78fed906ce4e6587b4d44e",
		"track-full":     "90ac3bfe9978bf9951513ddceee5b1380c6b7c52caba79a9a3c10da5ddae5b90",
		"cancel":         "0f0a8394b0962674fd7ee6ef23a98accce58f73c22d3641d7391d8a951ae7478",
	} {
		if got := digest(t, sampleRequests(t)[name]); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}
