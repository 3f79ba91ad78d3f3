package gateway

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

// TestProbeOfStatus checks that the status of the CA decides if the gateway has one.
func TestProbeOfStatus(t *testing.T) {
	t.Parallel()
	const own = `{"type":"ErrorResponse","error":{"code":"c","message":"m"}}`
	tests := []struct {
		name       string
		status     int
		body       string
		ca         int // status of the answer about the CA
		want       Fate
		says       string
		asked      string // by both probes
		statusless bool
	}{
		{"UP", 200, `{"type":"CAStatusResponse","status":"UP"}`, 200, 0, "", "status status", false},
		{"up", 200, `{"type":"CAStatusResponse","status":" up "}`, 200, 0, "", "status status", false},
		{"DOWN", 200, `{"type":"CAStatusResponse","status":"DOWN"}`, 200, NotAccepted, "CA ca-1 is DOWN", "status status", false},
		{"another word", 200, `{"type":"CAStatusResponse","status":"WARMING"}`, 200, 0, "", "status ca ca", true},
		{"another type", 200, `{"status":"DOWN"}`, 200, 0, "", "status ca ca", true},
		{"page", 200, `<html>`, 503, NotAccepted, "", "status ca status ca", false},
		{"no such path", 404, own, 200, 0, "", "status ca ca", true},
		{"no such path, Spring's words", 404, `{"timestamp":"t","status":404,"error":"Not Found","path":"p"}`, 200, 0, "", "status ca ca", true},
		{"not implemented", 501, "", 200, 0, "", "status ca ca", true},
		{"not for this client", 403, own, 200, 0, "", "status ca ca", true},
		// A restarting gateway has no status for a while. The client must ask for it again.
		{"restarting", 404, "", 404, Unknown, "", "status ca status ca", false},
		{"unknown client", 401, "", 200, Unauthorized, "", "status status", false},
		{"throttled", 429, "", 200, Throttled, "", "status status", false},
		{"broken", 500, own, 200, Unknown, "", "status status", false},
		{"unavailable", 503, own, 200, NotAccepted, "", "status status", false},
	}
	for _, tt := range tests {
		var mu sync.Mutex
		var asked []string
		c := newClient(t, Config{Dialect: DialectCAGW}, func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			if strings.HasSuffix(r.URL.Path, "/ca-1/status") {
				asked = append(asked, "status")
				always(tt.status, tt.body)(w, r)
				return
			}
			asked = append(asked, "ca")
			always(tt.ca, `{"ca":{"id":"ca-1"}}`)(w, r)
		})
		for range 2 {
			if err := c.Probe(t.Context()); FateOf(err) != tt.want || err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
			}
		}
		if got := strings.Join(asked, " "); got != tt.asked || c.statusless.Load() != tt.statusless {
			t.Errorf("%s: asked for %q, want %q", tt.name, got, tt.asked)
		}
	}
}

// TestProbeEnroll checks that every answer succeeds that is not about the client.
func TestProbeEnroll(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status int
		body   string
		want   Fate
	}{
		{405, "", 0}, {404, `{"timestamp":"t"}`, 0}, {200, `{"enrollments":[]}`, 0}, {403, `{"type":"ErrorResponse","error":{"code":"c","message":"m"}}`, 0},
		{500, "", 0}, {401, "", Unauthorized}, {400, "<html>No required SSL certificate was sent</html>", Unauthorized},
		{403, "<html>Reason: Cannot perform Post-Handshake Authentication.</html>", Unauthorized},
	} {
		var asked []string
		c := newClient(t, Config{Dialect: DialectCAGW}, func(w http.ResponseWriter, r *http.Request) {
			asked = append(asked, r.Method+" "+r.URL.Path)
			always(tt.status, tt.body)(w, r)
		})
		if err := c.ProbeEnroll(t.Context()); FateOf(err) != tt.want {
			t.Errorf("%d: %v, want %v", tt.status, err, tt.want)
		}
		if !slices.Equal(asked, []string{"GET /v1/certificate-authorities/ca-1/enrollments"}) {
			t.Errorf("asked %v", asked)
		}
	}
}
