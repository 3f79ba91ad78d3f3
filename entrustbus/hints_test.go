package entrustbus_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// An error that can tell what was meant says it.
func TestErrorsSayWhatToWrite(t *testing.T) {
	t.Parallel()
	csr := quote(testdata(t, "request.pem"))
	for _, row := range []struct{ rest, want string }{
		{`"validity_seconds":"90d"`, "validity_seconds: must be an integer, is a string; write the seconds as a number: 7776000"},
		{`"validity_seconds":"P90D"`, "write the seconds as a number: 7776000"},
		{`"validity_seconds":"P1W"`, "write the seconds as a number: 604800"},
		{`"validity_seconds":"PT1H30M"`, "write the seconds as a number: 5400"},
		{`"validity_seconds":"24h"`, "write the seconds as a number: 86400"},
		{`"validity_seconds":"86400"`, "write the seconds as a number: 86400"},
		{`"validity_seconds":86400.0`, "write the seconds as a number: 86400"},
		{`"validity_seconds":"P1Y"`, "validity_seconds: must be an integer, is a string"},
		{`"max_validity_seconds":"90 days"`, "max_validity_seconds: must be an integer, is a string; write the seconds as a number: 7776000"},
		{`"poll_max_wait_seconds":"1h"`, "write the seconds as a number: 3600"},
		{`"validity_seconds":0`, "validity_seconds: must be at least 1; leave the key out for the default"},
		{`"sans":"a.example"`, "sans: must be a list, is a string; write a list, even of one"},
		{`"sans":["b\u00fccher.example"]`, "sans[0]: contains a character that is not ASCII; write it as an A-label (xn--…)"},
		{`"must_staple":"true"`, "must_staple: must be a boolean, is a string; write true or false without quotes"},
		{`"v":3`, "v: is unsupported version 3 (supported: 1)"},
		{`"kind":"renew"`, "kind: is an unknown request kind"},
		{`"ekus":["webAuth"]`, "ekus[0]: is not an extended key usage"},
	} {
		_, err := entrustbus.DecodeRequest(entrustbus.KindIssue, entrustbus.EncodingJSON, []byte(`{"id":"a","csr_pem":`+csr+`,`+row.rest+`}`))
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: got %v, want %q", row.rest, err, row.want)
		}
	}
	for kind, want := range map[entrustbus.Kind]string{
		entrustbus.KindIssue:    `{"id":null} id: is missing`,
		entrustbus.KindTrack:    `{"id":"a","tracking_id":null} tracking_id: is missing`,
		entrustbus.KindCancel:   `{"id":"a","order":null} order: is missing`,
		entrustbus.KindComplete: `{"id":"a","order":"b","certificate_pem":null} certificate_pem: is missing`,
	} {
		body, want, _ := strings.Cut(want, " ")
		if _, err := entrustbus.DecodeRequest(kind, entrustbus.EncodingJSON, []byte(body)); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %q", body, err, want)
		}
	}
}

func TestUnknownKeysNearKnownOnes(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]string{
		"profile": "profile_id", "profileId": "profile_id", "profile-id": "profile_id", "profil_id": "profile_id", "ca": "ca_id",
		"validity_secs": "", "validity_secodns": "validity_seconds", "label": "labels", "san": "sans", "SANS": "sans",
		"commonName": "common_name", "must-staple": "must_staple", "eku": "ekus", "Kind": "kind", "trace": "", "note": "", "x": "",
		"subject": "subject_dn", "team": "", "ids": "",
	} {
		body := []byte(`{"id":"a","csr_pem":` + quote(testdata(t, "request.pem")) + `,"` + key + `":["whatever"]`)
		r, err := entrustbus.DecodeRequest(entrustbus.KindIssue, entrustbus.EncodingJSON, append(body, '}'))
		if err != nil {
			t.Errorf("%s: %v", key, err)
			continue
		}
		var expected []string
		if want != "" {
			expected = []string{`unknown key "` + key + `" is ignored: did you mean "` + want + `"?`}
		}
		if got := r.Warnings(); !slices.Equal(got, expected) {
			t.Errorf("%s: got %q, want %q", key, got, expected)
		}
		r, err = entrustbus.DecodeRequest(entrustbus.KindIssue, entrustbus.EncodingJSON, append(body, `,"strict":true}`...))
		if want == "" && err != nil || r == nil || r.OrderID() != "a" {
			t.Errorf("%s, strict: got %v, %v", key, r, err)
		}
		if want != "" {
			wantField(t, key+", strict", err, key)
			if err != nil && !strings.Contains(err.Error(), `did you mean "`+want+`"?`) {
				t.Errorf("%s, strict: got %v", key, err)
			}
		}
	}
}
