package gateway

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// The result of a poll depends on the answers of the path and of the events.
func TestPollModes(t *testing.T) {
	t.Parallel()
	const spring = `{"timestamp":"2026-11-28T10:00:00.000+00:00","status":404,"error":"Not Found","path":"/x"}`
	const own = `{"type":"ErrorResponse","error":{"code":"cagw-1","message":"no"}}`
	const none = `{"type":"CertificateEventsResponse","events":[],"morePages":false}`
	const doubt = `{"type":"CertificateEventsResponse","events":[{"action":"issued","serialNumber":"12"}],"morePages":false}`
	type reply struct {
		status int
		body   string
	}
	for _, tc := range []struct {
		name         string
		mode         PollMode
		path, events reply
		state        State
		fate         Fate
		lookups      int // of two polls
	}{
		{"auto, no such path", PollAuto, reply{404, spring}, reply{200, none}, Pending, 0, 2},
		{"auto, GET not allowed", PollAuto, reply{405, own}, reply{200, none}, Pending, 0, 2},
		{"auto, the order is unknown", PollAuto, reply{404, own}, reply{200, none}, 0, NotFound, 0},
		{"auto, the path answers", PollAuto, reply{200, `{"enrollment":{"id":"t","status":"PENDING"}}`}, reply{200, none}, Pending, 0, 0},
		{"auto, a front without a backend", PollAuto, reply{404, spring}, reply{404, spring}, 0, Unknown, 2},
		{"path alone", PollEnrollment, reply{404, spring}, reply{200, none}, 0, Unreadable, 0},
		{"events alone", PollEvents, reply{500, ""}, reply{200, none}, Pending, 0, 2},
		{"events that decide nothing", PollEvents, reply{500, ""}, reply{200, doubt}, Pending, 0, 2},
		{"events refused", PollEvents, reply{500, ""}, reply{400, own}, 0, Unreadable, 2}, // the order is not refused
		{"events down", PollEvents, reply{500, ""}, reply{503, own}, 0, NotAccepted, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			lookups := 0
			c := newClient(t, Config{Dialect: DialectCAGW, Poll: tc.mode, NotFoundGrace: -1}, func(w http.ResponseWriter, r *http.Request) {
				answer := tc.path
				if strings.HasSuffix(r.URL.Path, "/certificate-events") {
					lookups++
					answer = tc.events
				}
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(answer.status)
				_, _ = w.Write([]byte(answer.body))
			})
			csr := newCSR(t, "shop.example.net")
			for range 2 {
				a, err := c.Poll(t.Context(), Poll{TrackingID: "t", Search: func() (Search, bool) { return Search{CSR: csr, Since: time.Now()}, true }})
				if a.State != tc.state || FateOf(err) != tc.fate {
					t.Errorf("got %v, %v, want %v, %v", a.State, err, tc.state, tc.fate)
				}
				if err == nil && a.TrackingID != "t" {
					t.Errorf("tracking id is %q", a.TrackingID)
				}
			}
			if lookups != tc.lookups {
				t.Errorf("%d look-ups, want %d", lookups, tc.lookups)
			}
		})
	}
}
