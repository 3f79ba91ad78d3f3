package gatewaytest_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
)

// control sends a request to the control listener.
func (e *env) control(method, path, body string, status int) reply {
	e.t.Helper()
	req, err := http.NewRequestWithContext(e.t.Context(), method, e.gw.AdminURL()+path, strings.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		e.t.Fatal(err)
	}
	data, err := readAll(resp)
	if err != nil {
		e.t.Fatal(err)
	}
	if resp.StatusCode != status {
		e.t.Fatalf("%s %s: got %d %s, want %d", method, path, resp.StatusCode, data, status)
	}
	return reply{resp.StatusCode, resp.Header, data}
}

func TestControl(t *testing.T) {
	t.Parallel()
	e := setup(t, gatewaytest.Config{AdminAddr: "127.0.0.1:0"})
	if got := e.control("GET", "/_sim/enrollments", "", 200); strings.TrimSpace(string(got.body)) != "[]" {
		t.Errorf("got %q, want an empty list", got.body)
	}
	csr := csrOf(t, "hold-a.example.net")
	id := e.enrollFlat(csr, 201).TrackingID
	e.enrollFlat(csr, 201)
	issued := e.enrollFlat(csrOf(t, "b.example.net"), 200)
	e.pollFlat(id)
	e.control("POST", "/_sim/approve?id="+id, "", 204)
	e.pollFlat(id)

	list := decode[[]gatewaytest.Enrollment](t, e.control("GET", "/_sim/enrollments", "", 200))
	if len(list) != 2 {
		t.Fatalf("got %d keys, want 2", len(list))
	}
	twice := decode[[]gatewaytest.Enrollment](t, e.control("GET", "/_sim/enrollments?min=2", "", 200))
	one := decode[gatewaytest.Enrollment](t, e.control("GET", "/_sim/enrollments?key="+keyHash(t, csr), "", 200))
	if len(twice) != 1 || twice[0].KeyHash != one.KeyHash || one.Count != 2 || one.CN != "hold-a.example.net" ||
		one.TrackingIDs[0] != id || one.Statuses[0] != "issued" || one.Statuses[1] != "pending" ||
		one.Serials[0] == "" || one.Serials[1] != "" {
		t.Errorf("got %+v and %+v", twice, one)
	}
	e.control("GET", "/_sim/enrollments?key=00", "", 404)

	polls := decode[[]gatewaytest.PollRecord](t, e.control("GET", "/_sim/polls", "", 200))
	if len(polls) != 1 || polls[0].TrackingID != id || polls[0].Count != 2 {
		t.Errorf("got %+v", polls)
	}
	if p := decode[gatewaytest.PollRecord](t, e.control("GET", "/_sim/polls?id="+id, "", 200)); p.Count != 2 {
		t.Errorf("got %+v", p)
	}
	e.control("GET", "/_sim/polls?id=nope", "", 404)

	if n := decode[map[string]int](t, e.control("POST", "/_sim/approve?all=true&over=1ms", "", 200))["approved"]; n != 1 {
		t.Errorf("approved %d, want the one that is left", n)
	}
	e.control("POST", "/_sim/reject?id="+issued.TrackingID, "", 409)
	e.control("POST", "/_sim/reject?id=nope", "", 404)

	serial := parsePEM(t, issued.Certificate)[0].SerialNumber
	e.must("PUT", e.ca("/certificates/"+serial.String()+"/revoke"), map[string]string{"revocationReason": "Superseded"}, 204)
	revs := decode[[]gatewaytest.Revocation](t, e.control("GET", "/_sim/revocations", "", 200))
	if len(revs) != 1 || revs[0].Serial != serial.Text(16) || revs[0].TrackingID != issued.TrackingID {
		t.Errorf("got %+v", revs)
	}

	st := decode[gatewaytest.Stats](t, e.control("GET", "/_sim/stats", "", 200))
	if st.Enrolled != 3 || st.Duplicates != 1 || st.Polls != 2 || st.Requests[gatewaytest.OpEnroll] != 3 ||
		st.Requests[gatewaytest.OpRevoke] != 1 || st.ConnectionsOpened < 1 {
		t.Errorf("got %+v", st)
	}
	info := decode[map[string]any](t, e.control("GET", "/_sim/info", "", 200))
	if info["url"] != e.gw.URL() {
		t.Errorf("got %v", info)
	}
}

func TestControlBehaviour(t *testing.T) {
	t.Parallel()
	e := setup(t, gatewaytest.Config{AdminAddr: "127.0.0.1:0"})
	e.control("GET", "/healthz", "", 200)
	e.control("POST", "/_sim/down?on=true", "", 204)
	e.control("GET", "/healthz", "", 503)
	if _, err := e.ask("GET", e.ca(""), nil); err == nil {
		t.Error("answered while down")
	}
	e.control("POST", "/_sim/down?on=false", "", 204)
	e.control("POST", "/_sim/down", "", 400)
	e.must("GET", e.ca(""), nil, 200)

	added := e.control("POST", "/_sim/faults", `{"op":"ca","kind":"throttle","times":1,"retry_after":"2m"}`, 200)
	if r := e.must("GET", e.ca(""), nil, 429); r.header.Get("Retry-After") != "120" {
		t.Errorf("got Retry-After %q", r.header.Get("Retry-After"))
	}
	faults := decode[[]gatewaytest.Fault](t, e.control("GET", "/_sim/faults", "", 200))
	if len(faults) != 1 || faults[0].Fired != 1 || faults[0].RetryAfter != 2*time.Minute ||
		faults[0].ID != decode[map[string]int](t, added)["id"] {
		t.Errorf("got %+v", faults)
	}
	e.control("POST", "/_sim/faults", `{"kind":"throttle","tims":1}`, 400)
	e.control("POST", "/_sim/faults", `{"kind":"throttle","delay":"soon"}`, 400)
	e.control("PUT", "/_sim/faults", `[{"kind":"status","status":502},{"kind":"latency","delay":"1ms"}]`, 204)
	e.must("GET", e.ca(""), nil, 502)
	e.control("DELETE", "/_sim/faults", "", 204)
	e.control("DELETE", "/_sim/faults?id=1", "", 404)
	e.must("GET", e.ca(""), nil, 200)

	e.control("POST", "/_sim/rotate-client", "", 204)
}
