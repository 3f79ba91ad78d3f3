// Package statuspage shows operators the state of a fleet in a browser: the figures of
// internal/snapshot, plots of the last hour, producers, and single orders with their
// timeline. The server renders the page. It only reads, and server-sent events keep it
// current.
package statuspage

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/streams"
)

const (
	// liveEvery is the interval between two readings of the bus while the page is open.
	liveEvery = 3 * time.Second
	// readTime bounds one reading, searchTime one search or timeline.
	readTime   = 5 * time.Second
	searchTime = 10 * time.Second
	// maxViewers bounds the browsers that follow the page, maxSearches the concurrent
	// searches.
	maxViewers  = 32
	maxSearches = 4
	// streamFor is how long one stream of events lasts. The browser then connects again,
	// and the page checks its sign-in again.
	streamFor = time.Hour
	// sendTime bounds one write to a browser.
	sendTime = 10 * time.Second
)

//go:embed page
var files embed.FS

// Config configures a Page. All fields but Token are required.
type Config struct {
	Fleet   Fleet
	Recent  Counter
	Finder  Finder
	Stories Stories
	Layout  streams.Layout
	// Token is the secret that readers must present. Without it the page answers on
	// loopback addresses only.
	Token string
	// Host and Version are those of the worker that serves the page.
	Host, Version string
	Log           *slog.Logger
}

// Page is the status page of one worker. It is safe for concurrent use.
type Page struct {
	cfg     Config
	pages   map[string]*template.Template
	history history

	reading  sync.Mutex    // held during one reading
	searches chan struct{} // one element for each running search
	entered  chan struct{} // signals that a browser began to follow the page

	mu      sync.Mutex
	state   state
	changed chan struct{} // closed when state changes
	viewers int
}

// New returns a page. It reads nothing before Run is called or a browser asks.
func New(cfg Config) (*Page, error) {
	p := &Page{cfg: cfg, pages: map[string]*template.Template{}, searches: make(chan struct{}, maxSearches), entered: make(chan struct{}, 1), changed: make(chan struct{})}
	p.history.streams = cfg.Layout
	for _, name := range []string{"status", "orders", "order", "login"} {
		t, err := template.New("layout.html").Funcs(functions()).ParseFS(files, "page/layout.html", "page/parts.html", "page/"+name+".html")
		if err != nil {
			return nil, fmt.Errorf("parsing the page %s: %w", name, err)
		}
		p.pages[name] = t
	}
	return p, nil
}

// functions are the functions of the templates. Times are UTC, as in the log.
func functions() template.FuncMap {
	return template.FuncMap{
		"clock":   func(t time.Time) string { return t.UTC().Format("15:04:05 UTC") },
		"day":     func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
		"instant": func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	}
}

// Run reads the bus until ctx ends: every liveEvery while a browser follows the page,
// else every sampleEvery for the plots.
func (p *Page) Run(ctx context.Context) {
	for {
		p.look(ctx, p.watched())
		wait := sampleEvery
		if p.watched() {
			wait = liveEvery
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-p.entered: // a browser does not wait for the next sample
			t.Stop()
		case <-t.C:
		}
	}
}

// Handler serves the page. loopback says that only this host reaches the address.
func (p *Page) Handler(loopback bool) http.Handler {
	a := &access{token: p.cfg.Token, loopback: loopback}
	mux := http.NewServeMux()
	for path, handle := range map[string]http.HandlerFunc{
		"GET /{$}":                         p.status,
		"GET /live":                        p.live,
		"GET /orders":                      p.orders,
		"GET /orders/{producer}/{id}/live": p.orderLive,
		"GET /orders/{producer}/{id}":      p.order,
		"POST /logout":                     p.logout,
	} {
		mux.Handle(path, p.guard(a, handle))
	}
	mux.Handle("GET /login", p.login(a))
	mux.Handle("POST /login", p.login(a))
	// The sign-in form needs these files too, and they contain nothing about the fleet.
	for _, name := range []string{"style.css", "live.js", "icon.svg"} {
		mux.HandleFunc("GET /assets/"+name, func(w http.ResponseWriter, r *http.Request) {
			protect(w.Header())
			w.Header().Set("Cache-Control", "no-cache")
			http.ServeFileFS(w, r, files, "page/"+name)
		})
	}
	return mux
}

// head is the layout's data around a page.
type head struct {
	Title string
	// Nav is the page's entry in the navigation, "" for none.
	Nav string
	// Live is the path of the page's events, "" for none.
	Live          string
	SignOut       bool
	Host, Version string
}

// show writes a whole page.
func (p *Page) show(w http.ResponseWriter, status int, name string, h head, body any) {
	if h.Nav != "" {
		h.SignOut, h.Host, h.Version = p.cfg.Token != "", p.cfg.Host, p.cfg.Version
	}
	var b bytes.Buffer
	if err := p.pages[name].Execute(&b, struct {
		Head head
		Body any
	}{h, body}); err != nil {
		p.cfg.Log.Error("rendering the status page", "page", name, "err", err)
		http.Error(w, "The page cannot be rendered; the worker's log says why.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // an error means that the browser has gone
}
