package gateway

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestPollNotFoundGrace(t *testing.T) {
	t.Parallel()
	c := newClient(t, Config{Dialect: DialectCertctl, NotFoundGrace: time.Hour}, always(404, `{"error":"no such enrollment"}`))
	none := newClient(t, Config{Dialect: DialectCertctl, NotFoundGrace: -1}, always(404, `{"error":"no such enrollment"}`))
	tests := []struct {
		name      string
		c         *Client
		submitted time.Time
		pending   bool
	}{
		{"just submitted", c, time.Now(), true},
		{"within the grace", c, time.Now().Add(-59 * time.Minute), true},
		{"after the grace", c, time.Now().Add(-time.Hour), false},
		{"unknown submission", c, time.Time{}, false},
		{"no grace", none, time.Now(), false},
	}
	for _, tt := range tests {
		a, err := tt.c.Poll(t.Context(), Poll{TrackingID: "ENR-1", SubmittedAt: tt.submitted})
		if tt.pending && (err != nil || a.State != Pending || a.HTTPStatus != 404 || a.TrackingID != "ENR-1") {
			t.Errorf("%s: %+v, %v", tt.name, a, err)
		}
		if !tt.pending && FateOf(err) != NotFound {
			t.Errorf("%s: %v, want NotFound", tt.name, err)
		}
	}
}

func TestPollPathAndWords(t *testing.T) {
	t.Parallel()
	var path, word string
	c := newClient(t, Config{
		URL: "/cagw", Dialect: DialectCAGW, PollPath: "/orders/{trackingId}/of/{caId}",
		Words: StatusWords{Pending: []string{" Queued "}, Rejected: []string{"declined"}},
	}, func(w http.ResponseWriter, r *http.Request) {
		path = r.URL.EscapedPath()
		always(200, asJSON(t, jsonMap{"id": 7, "status": word, "message": "not today"}))(w, r)
	})
	word = "QUEUED"
	a, err := c.Poll(t.Context(), Poll{CAID: "a~b", TrackingID: "../x?y#z/1 2"})
	if err != nil || a.State != Pending || a.TrackingID != "7" {
		t.Errorf("Poll: %+v, %v", a, err)
	}
	if want := "/cagw/v1/orders/..%2Fx%3Fy%23z%2F1%202/of/a~b"; path != want {
		t.Errorf("path = %s, want %s", path, want)
	}
	if n := len(c.Stats().UnknownWords); n != 0 {
		t.Errorf("%d unknown words", n)
	}
	word = "Declined"
	a, err = c.Poll(t.Context(), Poll{TrackingID: ".."})
	if err != nil || a.State != Rejected || a.Message != "not today" || a.Status != "Declined" {
		t.Errorf("Poll: %+v, %v", a, err)
	}
	if want := "/cagw/v1/orders/%2E%2E/of/ca-1"; path != want {
		t.Errorf("path = %s, want %s", path, want)
	}
	word = "REJECTED" // no longer in the list
	if a, err = c.Poll(t.Context(), Poll{TrackingID: "1"}); err != nil || a.State != Pending {
		t.Errorf("Poll: %+v, %v", a, err)
	}
}

func TestUnknownWordsAreCountedAndLoggedOnce(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	word := ""
	c := newClientLogging(t, Config{Dialect: DialectCertctl}, slog.New(slog.NewTextHandler(&log, nil)), func(w http.ResponseWriter, r *http.Request) {
		always(200, asJSON(t, jsonMap{"trackingId": "t", "status": word}))(w, r)
	})
	for _, word = range []string{"UNDER_REVIEW", "under_review", "PENDING", "ON_HOLD", "Under_Review", "", strings.Repeat("x", 100)} {
		if a, err := c.Poll(t.Context(), Poll{TrackingID: "t"}); err != nil || a.State != Pending || len(a.Status) > 70 {
			t.Fatalf("%q: %+v, %v", word, a, err)
		}
	}
	got := c.Stats().UnknownWords
	if len(got) != 4 || got["UNDER_REVIEW"] != 3 || got["ON_HOLD"] != 1 || got["(NONE)"] != 1 {
		t.Errorf("unknown words: %v", got)
	}
	if n := strings.Count(log.String(), "unknown status word"); n != 4 {
		t.Errorf("%d lines logged, want one for each word:\n%s", n, log.String())
	}
	for i := range 2 * maxUnknownWords {
		c.words.add(strings.Repeat("Y", i+1))
	}
	if n := len(c.Stats().UnknownWords); n > maxUnknownWords+1 {
		t.Errorf("%d words are kept, the bound is %d", n, maxUnknownWords)
	}
}

func TestBadInputIsRefusedUnsent(t *testing.T) {
	t.Parallel()
	c := newClient(t, Config{Dialect: DialectCAGW}, func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s was sent", r.Method, r.URL)
	})
	csr := newCSR(t, "shop.example.net")
	enroll := func(e Enrollment) error { _, err := c.Enroll(t.Context(), e); return err }
	poll := func(p Poll) error { _, err := c.Poll(t.Context(), p); return err }
	find := func(s Search) error { _, _, err := c.Find(t.Context(), s); return err }
	tests := []struct {
		name string
		err  error
		want string
	}{
		{"no CSR", enroll(Enrollment{}), "csr: "},
		{"blank CA", enroll(Enrollment{CSR: csr, CAID: " "}), "ca_id: "},
		{"negative validity", enroll(Enrollment{CSR: csr, Validity: -time.Hour}), "validity: "},
		{"validity below a second", enroll(Enrollment{CSR: csr, Validity: time.Millisecond}), "validity: "},
		{"name without type", enroll(Enrollment{CSR: csr, SANs: []SAN{{Type: SANDNS, Value: "a"}, {Value: "b"}}}), "sans[1]: "},
		{"empty name", enroll(Enrollment{CSR: csr, SANs: []SAN{{Type: SANURI}}}), "sans[0]: "},
		{"address that is none", enroll(Enrollment{CSR: csr, SANs: []SAN{{Type: SANIP, Value: "a.example"}}}), "sans[0]: "},
		{"DER that is none", enroll(Enrollment{CSR: csr, SANs: []SAN{{Type: SANOther, DER: []byte{1}}}}), "sans[0]: "},
		{"no tracking id", poll(Poll{}), "tracking_id: "},
		{"blank CA of a poll", poll(Poll{CAID: " ", TrackingID: "t"}), "ca_id: "},
		{"find without CSR", find(Search{}), "csr: "},
		{"no serial", c.Revoke(t.Context(), Revocation{}), "serial: "},
		{"zero serial", c.Revoke(t.Context(), Revocation{Serial: serialOf("0")}), "serial: "},
		{"negative serial", c.Revoke(t.Context(), Revocation{Serial: serialOf("-5")}), "serial: "},
		{"unknown reason", c.Revoke(t.Context(), Revocation{Serial: serialOf("5"), Reason: "KeyCompromise"}), "reason: unknown; must be one of unspecified, keyCompromise"},
		{"blank CA of a revocation", c.Revoke(t.Context(), Revocation{CAID: " ", Serial: serialOf("5")}), "ca_id: "},
	}
	for _, tt := range tests {
		e, ok := tt.err.(*Error)
		if !ok || e.Fate != Refused || e.Class != "validation" || !strings.HasPrefix(e.Message, tt.want) {
			t.Errorf("%s: %v, want a refusal that begins with %q", tt.name, tt.err, tt.want)
		}
	}
	c.cfg.ProfileID = ""
	if err := enroll(Enrollment{CSR: csr}); FateOf(err) != Refused || !strings.Contains(err.Error(), "profile_id") {
		t.Errorf("no profile: %v", err)
	}
}
