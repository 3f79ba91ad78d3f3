//go:build browser

package statuspage

import (
	"bytes"
	"context"
	"flag"
	"image/png"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

var pictures = flag.String("pictures", "", "write pictures of the page at three widths, light and dark, into this directory")

// stepTime bounds one step of a test in the browser.
const stepTime = time.Minute

// newTab opens a tab of a headless browser, which ends with the test. Messages on the
// page's console fail the test: a blocked script or style, or an exception.
func newTab(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("there is no chromium")
	}
	tab, cancel := chromedp.NewContext(t.Context(), chromedp.WithAllocatorOptions(
		chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()), chromedp.NoSandbox))
	said := make(chan struct{})
	messages := chromedp.Console(tab)
	go func() {
		defer close(said)
		for m, err := range messages {
			// A lost connection and an answer other than 200 are part of the tests.
			if err == nil && m.Source != "network" && m.Type != chromedp.ConsoleDebug {
				t.Errorf("the console says: %s", m)
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-said
	})
	if err := chromedp.Do(tab); err != nil {
		t.Fatalf("starting chromium: %v", err)
	}
	return tab
}

// do runs steps in a tab.
func do(t *testing.T, tab context.Context, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(tab, stepTime)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatal(err)
	}
}

// get runs a step that returns a value.
func get[T any](t *testing.T, tab context.Context, step chromedp.Action[T]) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(tab, stepTime)
	defer cancel()
	got, err := chromedp.Run(ctx, step)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// eval runs JavaScript in the page.
func eval[T any](t *testing.T, tab context.Context, script string) T {
	t.Helper()
	return get(t, tab, chromedp.Evaluate[T](script))
}

// see waits until JavaScript is true in the page, across navigations.
func see(t *testing.T, tab context.Context, what, script string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(tab, stepTime)
	defer cancel()
	err := testbed.Until(ctx, what, func() (bool, error) {
		return chromedp.Run(ctx, chromedp.Evaluate[bool]("!!("+script+")"))
	})
	if err != nil {
		text, _ := chromedp.Run(tab, chromedp.Evaluate[string](`document.body.innerText`))
		t.Fatalf("%v\n%s", err, text)
	}
}

// screen sets the size of the window and the colour scheme.
func screen(width, height int64, dark bool) chromedp.Action[chromedp.Void] {
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	return chromedp.Steps(
		chromedp.EmulateViewport(width, height),
		chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
			_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
			})
			return err
		}))
}

// The page of a fleet in trouble, with texts of a hostile producer and gateway.
func TestBrowserShowsTheFleet(t *testing.T) {
	fleet := &madeUpFleet{message: hostile}
	page := newPage(t, Config{Fleet: fleet, Recent: madeUpResults{}, Finder: &madeUpOrders{}, Stories: &madeUpOrders{}, Host: "worker-1.example", Version: "v1.2.3"})
	page.history.samples = madeUpHistory(time.Now())
	go page.Run(t.Context())
	server := httptest.NewServer(page.Handler(true))
	t.Cleanup(server.CloseClientConnections)
	tab := newTab(t)
	do(t, tab, screen(800, 1000, false), chromedp.Navigate(server.URL))
	see(t, tab, "the page is live", `document.getElementById("live-state").textContent === "Updates are live."`)

	t.Run("renders", func(t *testing.T) {
		text := eval[string](t, tab, `document.body.innerText`)
		for _, want := range []string{"Status of the fleet", "worker-1", "enroll", hostile, "Parked orders", "nearly full", "shop"} {
			if !strings.Contains(text, want) {
				t.Errorf("the page has no %q:\n%s", want, text)
			}
		}
		if n := eval[int](t, tab, `document.querySelectorAll("polyline").length`); n < 5 {
			t.Errorf("%d lines are plotted, want 5 at least", n)
		}
	})
	t.Run("escapes", func(t *testing.T) {
		if eval[bool](t, tab, `window.hacked === true || !!document.querySelector("main img, main script")`) {
			t.Error("text of others became a part of the page")
		}
	})
	t.Run("updates and keeps the focus", func(t *testing.T) {
		do(t, tab, chromedp.Focus(chromedp.CSS(`a[href="/orders?producer=shop"]`)))
		fleet.park(4711)
		see(t, tab, "the new figure is shown", `document.body.innerText.includes("4,711")`)
		if got := eval[string](t, tab, `document.activeElement.getAttribute("href")`); got != "/orders?producer=shop" {
			t.Errorf("the focus went to %q", got)
		}
	})
	t.Run("pauses by the keyboard", func(t *testing.T) {
		do(t, tab, chromedp.Focus(chromedp.CSS("#pause")), chromedp.KeyEvent(kb.Enter))
		see(t, tab, "updates are paused", `document.getElementById("pause").ariaPressed === "true" && document.getElementById("live-state").textContent.startsWith("Updates have been paused since")`)
		fleet.park(5822)
		page.look(t.Context(), true)
		if eval[bool](t, tab, `document.body.innerText.includes("5,822")`) {
			t.Error("a paused page was updated")
		}
		do(t, tab, chromedp.KeyEvent(" "))
		see(t, tab, "updates go on", `document.body.innerText.includes("5,822")`)
	})
	t.Run("survives that NATS is away", func(t *testing.T) {
		if n := eval[int](t, tab, stale); n != 0 {
			t.Errorf("%d figures are stale", n)
		}
		fleet.away(true)
		see(t, tab, "every figure is stale", `(`+stale+`) === document.querySelectorAll(".since").length && document.body.innerText.includes("5,822")`)
		fleet.away(false)
		see(t, tab, "no figure is stale", `(`+stale+`) === 0`)
	})
	t.Run("survives that the worker is away", func(t *testing.T) {
		server.CloseClientConnections()
		see(t, tab, "the figures are stale", `(`+stale+`) > 0 && document.getElementById("live-state").textContent.includes("has not answered since")`)
		see(t, tab, "updates are live again", `(`+stale+`) === 0 && document.getElementById("live-state").textContent === "Updates are live."`)
	})
}

// stale counts the figures that are marked as stale.
const stale = `[...document.querySelectorAll(".since")].filter(e => !e.hidden && e.innerText.startsWith("stale since")).length`

// Users with a keyboard, a small screen, poor sight or a screen reader can use the page.
func TestBrowserAccessible(t *testing.T) {
	page := newPage(t, Config{Fleet: &madeUpFleet{message: hostile}, Recent: madeUpResults{}, Finder: &madeUpOrders{}, Stories: &madeUpOrders{}, Host: "worker-1.example", Version: "v1.2.3"})
	page.history.samples = madeUpHistory(time.Now())
	server := httptest.NewServer(page.Handler(true))
	t.Cleanup(server.CloseClientConnections)
	tab := newTab(t)
	for _, path := range []string{"/", "/orders?producer=shop", "/orders/shop/order-1"} {
		do(t, tab, screen(360, 740, false), chromedp.Navigate(server.URL+path))
		for _, width := range []int64{360, 800, 1400} {
			for _, dark := range []bool{false, true} {
				do(t, tab, screen(width, 900, dark))
				if over := eval[int](t, tab, `document.documentElement.scrollWidth - document.documentElement.clientWidth`); over > 0 {
					t.Errorf("%s at %d px scrolls sideways by %d px", path, width, over)
				}
				if low := eval[[]string](t, tab, lowContrast); len(low) > 0 {
					t.Errorf("%s at %d px, dark %v: contrast below 4.5: %v", path, width, dark, low)
				}
			}
		}
		for what, script := range map[string]string{
			"one main, header and footer":                 `["main", "body > header", "body > footer", "h1"].every(s => document.querySelectorAll(s).length === 1)`,
			"a language and a title":                      `document.documentElement.lang === "en" && document.title.includes("entrust-worker")`,
			"one page of the navigation is current":       `document.querySelectorAll("nav [aria-current=page]").length === 1`,
			"every section, table and plot has a name":    `[...document.querySelectorAll("section, .wide, figure")].every(e => document.getElementById(e.getAttribute("aria-labelledby"))?.innerText)`,
			"every head of a table has a scope":           `[...document.querySelectorAll("th")].every(e => e.scope)`,
			"every picture has a description":             `[...document.querySelectorAll("svg")].every(e => e.getAttribute("role") === "img" && e.getAttribute("aria-label"))`,
			"every input has a label":                     `[...document.querySelectorAll("input:not([type=hidden]), select")].every(e => e.labels.length === 1 && e.labels[0].innerText)`,
			"ids are there once":                          `new Set([...document.querySelectorAll("[id]")].map(e => e.id)).size === document.querySelectorAll("[id]").length`,
			"no element comes early in the order of tabs": `!document.querySelector('[tabindex]:not([tabindex="0"]):not([tabindex="-1"])')`,
			"what can be focused can be seen":             `[...document.querySelectorAll("a:not(.skip), button, select, input:not([type=hidden])")].every(e => e.checkVisibility() || e.closest("[hidden]"))`,
		} {
			if !eval[bool](t, tab, script) {
				t.Errorf("%s: not so: %s", path, what)
			}
		}
	}
	t.Run("the keyboard", func(t *testing.T) {
		do(t, tab, chromedp.Navigate(server.URL))
		var order []string
		for range 5 {
			do(t, tab, chromedp.KeyEvent(kb.Tab))
			order = append(order, eval[string](t, tab, `document.activeElement.innerText.trim()`))
			if !eval[bool](t, tab, `(e => { const s = getComputedStyle(e); return s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 2 })(document.activeElement)`) {
				t.Errorf("the focus on %q cannot be seen", order[len(order)-1])
			}
		}
		if want := "Skip to content, Status, Orders, Pause updates"; strings.Join(order[:4], ", ") != want {
			t.Errorf("the focus goes to %v, want %s", order, want)
		}
		do(t, tab, chromedp.Navigate(server.URL), chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Enter))
		see(t, tab, "the skip link leads to the content", `document.activeElement.id === "main"`)
	})
}

// lowContrast lists texts whose contrast to their background is below 4.5 to 1.
const lowContrast = `(() => {
	const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
	const rgba = (color) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1); return canvas.getImageData(0, 0, 1, 1).data; };
	const light = (c) => [...c].slice(0, 3).map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
	const behind = (e) => { for (; e; e = e.parentElement) { const c = rgba(getComputedStyle(e).backgroundColor); if (c[3] === 255) return c; } return rgba("white"); };
	const found = new Set(), walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (walk.nextNode()) {
		const e = walk.currentNode.parentElement;
		if (!walk.currentNode.data.trim() || !e.checkVisibility()) continue;
		const [a, b] = [light(rgba(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
		if ((a + .05) / (b + .05) < 4.5) found.add(walk.currentNode.data.trim().slice(0, 40));
	}
	return [...found];
})()`

// Sign in by the form, and out again.
func TestBrowserSignsIn(t *testing.T) {
	page := newPage(t, Config{Fleet: &madeUpFleet{message: hostile}, Recent: madeUpResults{}, Finder: &madeUpOrders{}, Stories: &madeUpOrders{}, Token: token})
	server := httptest.NewServer(page.Handler(false))
	t.Cleanup(server.CloseClientConnections)
	tab := newTab(t)
	do(t, tab, chromedp.Navigate(server.URL+"/orders?producer=shop"))
	see(t, tab, "the form is shown", `location.pathname === "/login"`)
	do(t, tab, chromedp.SendKeys(chromedp.CSS("#token"), "not-the-right-token"+kb.Enter))
	see(t, tab, "the token is refused", `document.querySelector("[role=alert]") !== null`)
	do(t, tab, chromedp.SendKeys(chromedp.CSS("#token"), token+kb.Enter))
	see(t, tab, "the page is shown", `location.pathname + location.search === "/orders?producer=shop"`)
	if eval[string](t, tab, `document.cookie`) != "" {
		t.Error("scripts can read the cookie")
	}
	do(t, tab, chromedp.Click(chromedp.CSS(`form[action="/logout"] button`)))
	see(t, tab, "the form is shown again", `location.pathname === "/login"`)
}

// Screenshots for review, and the one in the README:
//
//	go test -tags browser ./internal/statuspage -run TestPictures -pictures DIR
//	cp DIR/status.png docs/status.png
func TestPictures(t *testing.T) {
	if *pictures == "" {
		t.Skip("no -pictures")
	}
	fleet := &madeUpFleet{message: hostile}
	page := newPage(t, Config{Fleet: fleet, Recent: madeUpResults{}, Finder: &madeUpOrders{}, Stories: &madeUpOrders{}, Host: "worker-1.example", Version: "v1.2.3"})
	page.history.samples = madeUpHistory(time.Now())
	server := httptest.NewServer(page.Handler(true))
	t.Cleanup(server.CloseClientConnections)
	tab := newTab(t)
	for name, path := range map[string]string{"status": "/", "orders": "/orders?producer=shop", "order": "/orders/shop/order-1"} {
		for width, of := range map[int64]string{360: "360", 800: "800", 1400: "1400"} {
			for _, dark := range []bool{false, true} {
				scheme := map[bool]string{true: "dark", false: "light"}[dark]
				do(t, tab, screen(width, 900, dark), chromedp.Navigate(server.URL+path))
				keep(t, name+"-"+of+"-"+scheme+".png", get(t, tab, chromedp.FullScreenshot(100)))
			}
		}
	}
	fleet.message, fleet.calm = "the service is in maintenance", true
	do(t, tab, screen(1000, 760, false), chromedp.Navigate(server.URL))
	keep(t, "status.png", get(t, tab, chromedp.CaptureScreenshot()))
}

// keep writes a screenshot, compressed without loss.
func keep(t *testing.T, name string, shot []byte) {
	t.Helper()
	picture, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&b, picture); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*pictures, name), b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
