package statuspage

import (
	"bufio"
	"context"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/find"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/snapshot"
	"github.com/entrust-worker/entrust-worker/internal/timeline"
)

const script = `<script>alert("x")</script>`

// oneFleet has parked orders, a breaker with a hostile cause, and a bus that goes away.
type oneFleet struct {
	parked atomic.Uint64
	away   atomic.Bool
}

func (f *oneFleet) Read(context.Context) snapshot.Snapshot {
	s := snapshot.Snapshot{At: time.Now(), NATS: snapshot.NATS{Connected: true, Answered: time.Now()}}
	s.Fleet = snapshot.Part[control.State]{At: noon, Of: control.State{Breakers: []control.Breaker{{Operation: "enroll", CA: script, Cause: "503 " + script}}}}
	s.Parked = snapshot.Part[snapshot.Parked]{At: noon, Of: snapshot.Parked{Orders: f.parked.Load()}}
	if f.away.Load() {
		s.NATS.Connected, s.NATS.Problem = false, "not connected to NATS"
		s.Fleet.Problem, s.Parked.Problem = s.NATS.Problem, s.NATS.Problem
	}
	return s
}

// The page follows the bus by events. While NATS is away it keeps the last figures and
// says so.
func TestLive(t *testing.T) {
	t.Parallel()
	fleet := &oneFleet{}
	fleet.parked.Store(4711)
	p := newPage(t, Config{Fleet: fleet})
	server := httptest.NewServer(p.Handler(true))
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections)
	p.look(t.Context(), true)
	resp, err := http.Get(server.URL + "/live")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("content type %q", got)
	}
	lines := bufio.NewScanner(resp.Body)
	next := func() string {
		var b strings.Builder
		for lines.Scan() && lines.Text() != "" {
			b.WriteString(strings.TrimPrefix(lines.Text(), "data: ") + "\n")
		}
		return b.String()
	}
	if got := next(); !strings.Contains(got, "event: page") || !strings.Contains(got, "4,711") || strings.Contains(got, script) || !strings.Contains(got, html.EscapeString("503 "+script)) {
		t.Errorf("the first event:\n%s", got)
	}
	fleet.away.Store(true)
	p.mu.Lock()
	p.state.tried = time.Time{} // as after a pause
	p.mu.Unlock()
	p.look(t.Context(), true)
	got := next()
	figure := got[strings.Index(got, "Parked orders"):]
	figure = figure[:strings.Index(figure, "</dd>")]
	if !strings.Contains(figure, "4,711") || !strings.Contains(figure, `<small class="since">stale since <time datetime="2026-11-29T12:00:00Z">12:00:00 UTC</time>`) {
		t.Errorf("while NATS is away, the figure is:\n%s", figure)
	}
}

// The number of browsers that follow the page is bounded. A browser that leaves makes
// room.
func TestLiveIsBounded(t *testing.T) {
	t.Parallel()
	p := newPage(t, Config{})
	for range maxViewers {
		if !p.enter() {
			t.Fatal("a browser is refused")
		}
	}
	if got := ask(p.Handler(true), "GET", "/live", "localhost", nil, nil); got.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one more: status %d, want 503", got.StatusCode)
	}
	p.leave()
	if !p.enter() {
		t.Error("a browser is refused although one left")
	}
}

// hostileOrders has one order with texts of an attacker.
type hostileOrders struct{ err error }

func hostileStory() *timeline.Story {
	return &timeline.Story{
		Facts: timeline.Facts{Producer: "shop", ID: "order-1", Kind: entrustbus.KindIssue, Phase: order.Awaiting, Waits: "waits " + script, Trouble: "polls fail",
			Names: []string{"dns:" + script}, Labels: map[string]string{script: script}, Error: &entrustbus.ResultError{Message: script}, Updated: noon},
		Entries: []timeline.Entry{{Time: noon, What: timeline.Received, Detail: script, Source: timeline.FromRequest}},
		Notes:   []string{script},
	}
}

func (h hostileOrders) Newest(_ context.Context, q find.Query, _ int, _ time.Duration) (*find.Found, error) {
	return &find.Found{Orders: []*timeline.Facts{&hostileStory().Facts}, Since: noon}, h.err
}

func (h hostileOrders) Read(context.Context, order.Key) (*timeline.Story, error) {
	return hostileStory(), h.err
}

func TestOrders(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, path string
		err        error
		status     int
		want       string
	}{
		{"the form", "/orders", nil, 200, "Fill in what you know"},
		{"the newest", "/orders?producer=", nil, 200, `<a href="/orders/shop/order-1">shop.order-1</a>`},
		{"how far it was read", "/orders?trouble=1", nil, 200, "Orders that changed last before 2026-11-29 12:00 UTC were not looked at"},
		{"what was asked for stays in the form", "/orders?name=" + url.QueryEscape(`"><script>`), nil, 200, `value="&#34;&gt;&lt;script&gt;"`},
		{"an id leads to its order", "/orders?producer=shop&id=order-1", nil, 303, ""},
		{"an id without a producer", "/orders?id=order-1", nil, 400, "fill in the producer too"},
		{"a producer that is none", "/orders?producer=a.b", nil, 400, "1 to 64 letters"},
		{"a phase that is none", "/orders?phase=asleep", nil, 400, "no such phase"},
		{"a serial that is none", "/orders?serial=zz", nil, 400, "hexadecimal"},
		{"a search that failed in part", "/orders?producer=shop", context.DeadlineExceeded, 200, "Not all could be read"},
		{"a story", "/orders/shop/order-1", nil, 200, `<time datetime="2026-11-29T12:00:00Z">2026-11-29 12:00:00 UTC</time> <b>received</b>`},
		{"an order that is not known", "/orders/shop/order-2", timeline.ErrUnknown, 404, "does not know this order"},
		{"an order that cannot be read", "/orders/shop/order-1", context.DeadlineExceeded, 502, "cannot be read"},
		{"an id that is none", "/orders/shop/" + url.PathEscape("a/b"), nil, 400, "1 to 64 letters"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			h := newPage(t, Config{Finder: hostileOrders{tc.err}, Stories: hostileOrders{tc.err}}).Handler(true)
			got := ask(h, "GET", tc.path, "localhost", nil, nil)
			body, err := io.ReadAll(got.Body)
			if err != nil {
				t.Fatal(err)
			}
			if got.StatusCode != tc.status || !strings.Contains(string(body), tc.want) {
				t.Errorf("status %d, want %d and %q in:\n%s", got.StatusCode, tc.status, tc.want, body)
			}
			if strings.Contains(string(body), script) {
				t.Error("the text of others became a part of the page")
			}
		})
	}
}
