package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// A file holds durations and properties as groups. Dots in their names are part of them.
func TestGroupsOfAFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "c.yaml")
	const text = `
gateway:
  profile_validity:
    tls.server: 90d
    short: 12h
  properties:
    ca.1:
      tracking.requesterName: "{{.labels.owner}}"
      tracking.additionalEmails: [a@example.net, "{{.labels.mail}}"]
      tracking.customFields.number1: 342.5
      seats: 7
      internal: true
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := load(parsed(t, "--config", file), nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Durations{"tls.server": 90 * 24 * time.Hour, "short": 12 * time.Hour}); !reflect.DeepEqual(s.Gateway.ProfileValidity, want) {
		t.Errorf("profile_validity is %v", s.Gateway.ProfileValidity)
	}
	want := Properties{"ca.1": {
		"tracking.requesterName": "{{.labels.owner}}", "tracking.additionalEmails": []any{"a@example.net", "{{.labels.mail}}"},
		"tracking.customFields.number1": 342.5, "seats": 7, "internal": true,
	}}
	if !reflect.DeepEqual(s.Gateway.Properties, want) {
		t.Errorf("properties are %#v", s.Gateway.Properties)
	}
}

func TestGroupsThatAreWrong(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ flag, want string }{
		{"--gateway-profile-validity=90d", "must be a group of keys"},
		{"--gateway-profile-validity={a: soon}", `has "soon" for "a"`},
		{"--gateway-profile-validity={a: 0s}", "must hold durations"},
		{"--gateway-properties={a: b}", "must hold a group of properties for each CA"},
		{"--gateway-properties=[a]", "must be a group of keys"},
	} {
		if _, err := load(parsed(t, tc.flag), nil); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.flag, err, tc.want)
		}
	}
	for _, tc := range []struct{ properties, want string }{
		{`{ca: {a: "{{.label}}"}}`, `a of CA ca uses a name that no order has`},
		{`{ca: {a: "{{.labels.x"}}`, "a of CA ca is not a valid template"},
		{`{ca: {a: 2018-01-01}}`, "put a date in quotes"},
		{`{ca: {a: {b: c}}}`, "must be a text, a number"},
		{`{ca: {a: ["x", [y]]}}`, "must be a text, a number"},
		{`{ca: {a: "b\nc"}}`, "text on one line"},
	} {
		s := enough()
		var err error
		if s.Gateway.Properties, err = parseProperties(tc.properties); err == nil {
			err = s.CheckWorker()
		}
		if err == nil || !strings.Contains(err.Error(), "gateway.properties are wrong") || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.properties, err, tc.want)
		}
	}
	s := enough()
	s.Gateway.Properties, s.Gateway.Dialect = Properties{"ca": {"a": "b"}}, "certctl"
	if err := s.CheckWorker(); err == nil || !strings.Contains(err.Error(), "certctl has no properties") {
		t.Errorf("%v", err)
	}
}
