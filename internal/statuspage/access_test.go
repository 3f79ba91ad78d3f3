package statuspage

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/find"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/snapshot"
	"github.com/entrust-worker/entrust-worker/internal/timeline"
)

const token = "a-token-of-the-page"

// noFleet is a fleet that cannot be read.
type noFleet struct{}

func (noFleet) Read(context.Context) snapshot.Snapshot { return snapshot.Snapshot{} }

// noResults counts nothing.
type noResults struct{}

func (noResults) Read(context.Context) (Producers, error) { return Producers{}, nil }

func newPage(t *testing.T, cfg Config) *Page {
	t.Helper()
	if cfg.Fleet == nil {
		cfg.Fleet = noFleet{}
	}
	if cfg.Recent == nil {
		cfg.Recent = noResults{}
	}
	if cfg.Finder == nil {
		cfg.Finder, cfg.Stories = noOrders{}, noOrders{}
	}
	cfg.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// noOrders finds nothing.
type noOrders struct{}

func (noOrders) Newest(context.Context, find.Query, int, time.Duration) (*find.Found, error) {
	return &find.Found{}, nil
}

func (noOrders) Read(context.Context, order.Key) (*timeline.Story, error) {
	return nil, timeline.ErrUnknown
}

// ask sends a handler a request like a browser's.
func ask(h http.Handler, method, target, host string, header map[string]string, form url.Values) *http.Response {
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r := httptest.NewRequest(method, target, body)
	r.Host = host
	r.Header.Set("Accept", "text/html")
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for name, value := range header {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func TestAccess(t *testing.T) {
	t.Parallel()
	bearer := map[string]string{"Authorization": "Bearer " + token}
	for _, tc := range []struct {
		name     string
		token    string
		loopback bool
		host     string
		header   map[string]string
		want     int
	}{
		{"loopback", "", true, "127.0.0.1:9464", nil, 200},
		{"loopback by name", "", true, "localhost:9464", nil, 200},
		{"another address of loopback", "", true, "127.9.9.9", nil, 200},
		{"loopback of IPv6", "", true, "[::1]:9464", nil, 200},
		{"IPv6 without a port", "", true, "[::1]", nil, 200},
		{"a name that was rebound to loopback", "", true, "evil.example:9464", nil, 421},
		{"a name that begins like loopback", "", true, "127.0.0.1.evil.example", nil, 421},
		{"a name below localhost", "", true, "evil.localhost", nil, 421},
		{"no name", "", true, "", nil, 421},
		{"a proxy before loopback", "", true, "127.0.0.1:9464", map[string]string{"X-Forwarded-For": "192.0.2.1"}, 403},
		{"another proxy before loopback", "", true, "127.0.0.1:9464", map[string]string{"Forwarded": "for=192.0.2.1"}, 403},
		{"the network, without a token", "", false, "127.0.0.1:9464", nil, 403},
		{"the network, and a bearer where none is known", "", false, "worker.example", bearer, 403},
		{"the network, not signed in", token, false, "worker.example", nil, 303},
		{"loopback with a token, not signed in", token, true, "127.0.0.1", nil, 303},
		{"the token", token, false, "worker.example", bearer, 200},
		{"the token behind a proxy", token, true, "worker.example", map[string]string{"Authorization": "bearer " + token, "X-Forwarded-For": "192.0.2.1"}, 200},
		{"another token", token, false, "worker.example", map[string]string{"Authorization": "Bearer " + token + "x"}, 303},
		{"no token", token, false, "worker.example", map[string]string{"Authorization": "Bearer "}, 303},
		{"the token by another scheme", token, false, "worker.example", map[string]string{"Authorization": "Basic " + token}, 303},
		{"a cookie that is the token", token, false, "worker.example", map[string]string{"Cookie": cookieName + "=" + token}, 303},
		{"a cookie without a proof", token, false, "worker.example", map[string]string{"Cookie": cookieName + "=99999999999."}, 303},
		{"a program without the token", token, false, "worker.example", map[string]string{"Accept": "*/*"}, 401},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			h := newPage(t, Config{Token: tc.token}).Handler(tc.loopback)
			got := ask(h, "GET", "/", tc.host, tc.header, nil)
			if got.StatusCode != tc.want {
				t.Errorf("status %d, want %d", got.StatusCode, tc.want)
			}
			for _, name := range []string{"Content-Security-Policy", "Referrer-Policy", "X-Content-Type-Options", "Cache-Control", "X-Frame-Options"} {
				if got.Header.Get(name) == "" {
					t.Errorf("no header %s", name)
				}
			}
			if csp := got.Header.Get("Content-Security-Policy"); strings.Contains(csp, "unsafe") || !strings.Contains(csp, "default-src 'none'") {
				t.Errorf("the policy %q", csp)
			}
			// A refusal shows nothing of the fleet.
			if body, _ := io.ReadAll(got.Body); tc.want != 200 && strings.Contains(string(body), "fleet") {
				t.Errorf("the answer holds the page: %s", body)
			}
		})
	}
}

// Every path checks its reader, except those of the sign-in.
func TestEveryPathIsGuarded(t *testing.T) {
	t.Parallel()
	h := newPage(t, Config{Token: token}).Handler(true)
	for path, want := range map[string]int{
		"/": 401, "/live": 401, "/orders": 401, "/orders/shop/order-1": 401, "/orders/shop/order-1/live": 401,
		"/login": 200, "/assets/style.css": 200, "/assets/live.js": 200, "/assets/icon.svg": 200,
		"/assets/": 404, "/assets/layout.html": 404, "/page/layout.html": 404, "/nothing": 404,
	} {
		if got := ask(h, "GET", path, "localhost", map[string]string{"Accept": "*/*"}, nil); got.StatusCode != want {
			t.Errorf("GET %s: status %d, want %d", path, got.StatusCode, want)
		}
	}
	// The page only reads.
	for _, path := range []string{"/", "/live", "/orders", "/orders/shop/order-1"} {
		if got := ask(h, "POST", path, "localhost", map[string]string{"Authorization": "Bearer " + token}, url.Values{}); got.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("POST %s: status %d, want 405", path, got.StatusCode)
		}
	}
}

// A sign-in sets a cookie that does not contain the token and expires. It redirects to a
// path of the page only.
func TestSignIn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newPage(t, Config{Token: token}).Handler(false)
		wrong := ask(h, "POST", "/login", "worker.example", nil, url.Values{"token": {"another-token-of-it"}})
		if body, _ := io.ReadAll(wrong.Body); wrong.StatusCode != http.StatusForbidden || len(wrong.Cookies()) > 0 || !strings.Contains(string(body), `role="alert"`) || strings.Contains(string(body), "another-token") {
			t.Errorf("another token: status %d, %d cookies\n%s", wrong.StatusCode, len(wrong.Cookies()), body)
		}
		for next, want := range map[string]string{
			"/orders?q=a": "/orders?q=a", "": "/", "https://evil.example/": "/", "//evil.example/": "/", `/\evil.example`: "/", "javascript:alert(1)": "/", "orders": "/",
		} {
			got := ask(h, "POST", "/login", "worker.example", nil, url.Values{"token": {token + "\n"}, "next": {next}})
			if got.StatusCode != http.StatusSeeOther || got.Header.Get("Location") != want {
				t.Errorf("next %q: status %d to %q, want %q", next, got.StatusCode, got.Header.Get("Location"), want)
			}
		}
		right := ask(h, "POST", "/login", "worker.example", map[string]string{"X-Forwarded-Proto": "https"}, url.Values{"token": {token}})
		if len(right.Cookies()) != 1 {
			t.Fatalf("%d cookies", len(right.Cookies()))
		}
		c := right.Cookies()[0]
		if !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteLaxMode || strings.Contains(c.Value, token) {
			t.Errorf("the cookie %v", c)
		}
		pass := map[string]string{"Cookie": c.Name + "=" + c.Value}
		if got := ask(h, "GET", "/", "worker.example", pass, nil); got.StatusCode != 200 {
			t.Errorf("signed in: status %d", got.StatusCode)
		}
		// Another worker accepts the cookie if it has the same token.
		for other, want := range map[string]int{token: 200, "the-token-of-others": 303} {
			if got := ask(newPage(t, Config{Token: other}).Handler(false), "GET", "/", "worker.example", pass, nil); got.StatusCode != want {
				t.Errorf("a worker with the token %q: status %d, want %d", other, got.StatusCode, want)
			}
		}
		later := map[string]string{"Cookie": c.Name + "=9" + c.Value}
		if got := ask(h, "GET", "/", "worker.example", later, nil); got.StatusCode != 303 {
			t.Errorf("a cookie with another end: status %d, want 303", got.StatusCode)
		}
		out := ask(h, "POST", "/logout", "worker.example", pass, url.Values{})
		if out.StatusCode != 303 || len(out.Cookies()) != 1 || out.Cookies()[0].MaxAge >= 0 {
			t.Errorf("signed out: status %d, cookies %v", out.StatusCode, out.Cookies())
		}
		time.Sleep(signedInFor)
		if got := ask(h, "GET", "/", "worker.example", pass, nil); got.StatusCode != 303 {
			t.Errorf("after the end of the sign-in: status %d, want 303", got.StatusCode)
		}
	})
}
