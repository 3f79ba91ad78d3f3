package entrustbus_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// The forms are those that Entrust's Ansible module documents.
func TestParsePeriod(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for _, tc := range []struct {
		text    string
		longest time.Duration
		begins  string // "" with the certificate
	}{
		{"P90D", 90 * day, ""},
		{"P1Y3M10DT0H0M", 366*day + 93*day + 10*day, ""},
		{"PT3600S", time.Hour, ""},
		{"P2W", 14 * day, ""},
		{"P1DT2H3M4S", day + 2*time.Hour + 3*time.Minute + 4*time.Second, ""},
		{"2026-11-01T13:00Z/2026-11-03T09:00:00Z", 44 * time.Hour, "2026-11-01T13:00:00Z"},
		{"2026-11-28T13:00+02:00/P1Y3M0DT0H0M", 366*day + 93*day, "2026-11-28T11:00:00Z"},
		{"P0Y3M0DT0H0M/2027-12-31T00:00Z", 93 * day, "2027-10-01T00:00:00Z"},
	} {
		p, err := entrustbus.ParsePeriod(tc.text)
		begins := ""
		if !p.Begins().IsZero() {
			begins = p.Begins().Format(time.RFC3339)
		}
		if err != nil || p.Longest() != tc.longest || begins != tc.begins {
			t.Errorf("%s: longest %s, begins %q, %v; want %s, %q", tc.text, p.Longest(), begins, err, tc.longest, tc.begins)
		}
	}
	for _, text := range []string{
		"", "P", "PT", "P1", "P1X", "P-1D", "P1DT", "P1D1Y", "90D", "P0D", "PT0S", "P101Y", "P99999999999999999999D", "PT9999999999999H",
		"2026-11-01/2027-11-01", "2026-11-01T13:00/2027-11-01T13:00Z", "2027-11-01T13:00Z/2026-11-01T13:00Z", "P1D/P2D", "P1D/", "/P1D",
		"2026-11-01T13:00Z", "2026-11-01T13:00Z/", "P1D/2026-11-01T13:00Z/P1D",
	} {
		if p, err := entrustbus.ParsePeriod(text); err == nil {
			t.Errorf("%q is read as %+v", text, p)
		}
	}
}

func TestPeriodBesideOtherValidities(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		change func(*entrustbus.Issue)
		field  string
		says   string
	}{
		{func(r *entrustbus.Issue) { r.ValidityPeriod = "P90D" }, "", ""},
		{func(r *entrustbus.Issue) { r.ValidityPeriod, r.MaxValiditySeconds = "P90D", 90*86400 }, "", ""},
		{func(r *entrustbus.Issue) { r.ValidityPeriod, r.MaxValiditySeconds = "P3M", 90*86400 }, "max_validity_seconds", "8035200"},
		{func(r *entrustbus.Issue) { r.ValidityPeriod, r.ValiditySeconds = "P90D", 60 }, "validity_period", "beside validity_seconds"},
		{func(r *entrustbus.Issue) { r.ValidityPeriod = "90 days" }, "validity_period", "duration"},
	} {
		r := &entrustbus.Issue{ID: "a", CSRPEM: testdata(t, "request.pem")}
		tc.change(r)
		err := r.Validate()
		var bad *entrustbus.FieldError
		ok := errors.As(err, &bad)
		if ok != (tc.field != "") || ok && (bad.Field != tc.field || !strings.Contains(bad.Problem, tc.says)) {
			t.Errorf("%q: %v, want %q about %q", r.ValidityPeriod, err, tc.says, tc.field)
		}
	}
}

// What the contract takes for a period, it takes from any writer.
func FuzzParsePeriod(f *testing.F) {
	for _, text := range []string{"P1Y3M10DT0H0M", "2026-11-01T13:00Z/2027-07-06T09:00:00Z", "P1D/2026-11-01T13:00Z", "PT9H/"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := entrustbus.ParsePeriod(text)
		if err == nil && (p.Longest() < time.Second || p.Longest() > entrustbus.MaxValiditySeconds*time.Second) {
			t.Errorf("%q lasts %s", text, p.Longest())
		}
	})
}
