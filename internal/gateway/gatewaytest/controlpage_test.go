package gatewaytest_test

import (
	"strings"
	"testing"

	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
)

// The buttons of the page post to the endpoints, which redirect to the page.
func TestControlPage(t *testing.T) {
	t.Parallel()
	e := setup(t, gatewaytest.Config{AdminAddr: "127.0.0.1:0"})
	page := func() string {
		t.Helper()
		got := e.control("GET", "/", "", 200)
		if policy := got.header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") {
			t.Errorf("got the policy %q", policy)
		}
		return string(got.body)
	}
	if text := page(); !strings.Contains(text, "Orders that wait for approval") || !strings.Contains(text, "Take down") {
		t.Errorf("got %s", text)
	}
	yes := e.enrollFlat(csrOf(t, "hold-<yes>.example.net"), 201).TrackingID
	no := e.enrollFlat(csrOf(t, "hold-no.example.net"), 201).TrackingID
	waiting := decode[[]gatewaytest.PendingOrder](t, e.control("GET", "/_sim/pending", "", 200))
	if len(waiting) != 2 || waiting[0].TrackingID != yes || waiting[1].CN != "hold-no.example.net" || !waiting[0].Due.IsZero() {
		t.Errorf("got %+v", waiting)
	}
	text := page()
	if !strings.Contains(text, "hold-&lt;yes&gt;.example.net") || strings.Contains(text, "<yes>") {
		t.Errorf("the name is not escaped: %s", text)
	}
	for _, form := range []string{"approve?id=" + yes, "reject?id=" + no} {
		if !strings.Contains(text, `action="/_sim/`+form+`&amp;page=1"`) {
			t.Fatalf("no form of %s", form)
		}
		e.control("POST", "/_sim/"+form+"&page=1", "", 200) // the page again, after a redirect
	}
	if p := e.pollFlat(yes); p.Status != "ISSUED" && p.Certificate == "" {
		t.Errorf("the approved order: got %+v", p)
	}
	if waiting := e.gw.Pending(10); len(waiting) != 0 && waiting[0].TrackingID == yes {
		t.Errorf("still pending: %+v", waiting)
	}
	e.control("POST", "/_sim/reject?id=nope&page=1", "", 404)
	e.control("POST", "/_sim/down?on=true&page=1", "", 200)
	if text := page(); !strings.Contains(text, "is down") || !strings.Contains(text, "Bring up") {
		t.Errorf("got %s", text)
	}
	e.control("POST", "/_sim/down?on=false&page=1", "", 200)
	e.control("GET", "/elsewhere", "", 404)
}

// A cut resets open connections, and the gateway answers the next call.
func TestCut(t *testing.T) {
	t.Parallel()
	e := setup(t, gatewaytest.Config{AdminAddr: "127.0.0.1:0", HTTP1Only: true})
	e.must("GET", e.ca(""), nil, 200)
	opened, open := e.gw.Connections()
	if open != 1 {
		t.Fatalf("%d connections are open, want 1", open)
	}
	e.control("POST", "/_sim/cut", "", 204)
	// The client may write to its connection before it sees the reset.
	if _, err := e.ask("GET", e.ca(""), nil); err != nil {
		e.must("GET", e.ca(""), nil, 200)
	}
	if again, _ := e.gw.Connections(); again <= opened {
		t.Errorf("%d connections were opened, want more than %d", again, opened)
	}
}
