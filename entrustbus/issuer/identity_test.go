package issuer

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/entrustbus/entrustbustest"
)

const day = 86400

// request makes a valid request with a new key.
func request(t *testing.T, change func(*entrustbus.Issue), names ...string) *entrustbus.Issue {
	t.Helper()
	_, csr := entrustbustest.CSR(names...)
	r := &entrustbus.Issue{ID: "any", CSRPEM: csr}
	if change != nil {
		change(r)
	}
	if err := r.Validate(); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSameOrder(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	id := func(s sort, r *entrustbus.Issue, at time.Time) (current, before string) {
		t.Helper()
		current, before, err := windowIDs(s, r, day, at)
		if err != nil || !entrustbus.ValidToken(current) || !entrustbus.ValidToken(before) || current == before {
			t.Fatalf("got the ids %q and %q, %v", current, before, err)
		}
		return current, before
	}
	want, _ := id(sortIssue, request(t, nil, "a.example", "b.example"), noon)
	for name, row := range map[string]struct {
		s    sort
		r    *entrustbus.Issue
		at   time.Time
		same bool
	}{
		"another key":           {sortIssue, request(t, nil, "a.example", "b.example"), noon, true},
		"later that day":        {sortIssue, request(t, nil, "a.example", "b.example"), noon.Add(11 * time.Hour), true},
		"the names given again": {sortIssue, request(t, func(r *entrustbus.Issue) { r.SANs = []string{"B.example.", "a.example"} }, "a.example", "b.example"), noon, true},
		"labels":                {sortIssue, request(t, func(r *entrustbus.Issue) { r.Labels = map[string]string{"a": "b"} }, "a.example", "b.example"), noon, true},
		"the next day":          {sortIssue, request(t, nil, "a.example", "b.example"), noon.Add(13 * time.Hour), false},
		"a renewal":             {sortRenew, request(t, nil, "a.example", "b.example"), noon, false},
		"a name more":           {sortIssue, request(t, nil, "a.example", "b.example", "c.example"), noon, false},
		"another common name":   {sortIssue, request(t, nil, "b.example", "a.example"), noon, false},
		"another CA":            {sortIssue, request(t, func(r *entrustbus.Issue) { r.CAID = "ca-2" }, "a.example", "b.example"), noon, false},
		"another profile":       {sortIssue, request(t, func(r *entrustbus.Issue) { r.ProfileID = "p" }, "a.example", "b.example"), noon, false},
		"a cap":                 {sortIssue, request(t, func(r *entrustbus.Issue) { r.MaxValiditySeconds = day }, "a.example", "b.example"), noon, false},
		"must-staple":           {sortIssue, request(t, func(r *entrustbus.Issue) { r.MustStaple = true }, "a.example", "b.example"), noon, false},
	} {
		got, before := id(row.s, row.r, row.at)
		if (got == want) != row.same {
			t.Errorf("%s: same order: %v, want %v", name, got == want, row.same)
		}
		if name == "the next day" && before != want {
			t.Error("the window before is not looked at")
		}
	}

	usages := request(t, func(r *entrustbus.Issue) { r.EKUs = []string{"serverAuth", "clientAuth"} }, "a.example")
	again := request(t, func(r *entrustbus.Issue) { r.EKUs = []string{"ClientAuth", "serverAuth", "serverAuth"} }, "a.example")
	a, _ := id(sortIssue, usages, noon)
	if b, _ := id(sortIssue, again, noon); a != b {
		t.Error("key usages are not a set")
	}
}

func TestNamesThatRepeatTheCertificateRequestAreLeftOut(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		sans []string
		left bool
	}{
		"the same":    {[]string{"B.example.", "a.example"}, false},
		"a name more": {[]string{"a.example", "b.example", "c.example"}, true},
		"a name less": {[]string{"a.example"}, true},
	} {
		r := request(t, func(r *entrustbus.Issue) { r.SANs = row.sans }, "a.example", "b.example")
		if err := withoutIdleSANs(r); err != nil || (r.SANs != nil) != row.left {
			t.Errorf("%s: left %q, %v", name, r.SANs, err)
		}
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	got, err := Config{Producer: "certctl"}.withDefaults()
	if err != nil || got.WaitSeconds != 20 || got.WindowSeconds != day {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err = (Config{PollMaxWaitSeconds: 7 * day}).withDefaults(); err != nil || got.WindowSeconds != 7*day {
		t.Errorf("an order that waits for a week: got %+v, %v", got, err)
	}
	for name, row := range map[string]struct {
		cfg   Config
		field string
	}{
		"no time to wait":                    {Config{WaitSeconds: -1}, "wait_seconds"},
		"a window of seconds":                {Config{WindowSeconds: 30}, "window_seconds"},
		"a window shorter than the approval": {Config{WindowSeconds: 3600, PollMaxWaitSeconds: day}, "window_seconds"},
		"no producer":                        {Config{}, "producer"},
	} {
		_, err := New(nil, row.cfg)
		var f *entrustbus.FieldError
		if !errors.As(err, &f) || f.Field != row.field {
			t.Errorf("%s: got %v, want a *FieldError for %q", name, err, row.field)
		}
	}
}

func TestOutcomeErrorIsOneLine(t *testing.T) {
	t.Parallel()
	err := ended(&entrustbus.Result{
		ID: "a", Outcome: entrustbus.OutcomeExpired, TrackingID: "t-1", Error: &entrustbus.ResultError{Class: entrustbus.ClassTimeout, Message: "nobody decided"},
	})
	if got := err.Error(); got != "order a: expired: timeout: nobody decided (tracking id t-1)" || strings.Contains(got, "\n") {
		t.Errorf("got %q", got)
	}
}
