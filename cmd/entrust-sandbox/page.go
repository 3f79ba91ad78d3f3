package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/find"
	"github.com/entrust-worker/entrust-worker/internal/snapshot"
	"github.com/entrust-worker/entrust-worker/internal/statuspage"
	"github.com/entrust-worker/entrust-worker/internal/timeline"
)

// servePage serves the status page beside the metrics, over the sandbox's own connection, until
// ctx is done. It is for this host: the address is a loopback one unless --http-addr says otherwise,
// and then the page is off.
func (w *web) servePage(ctx context.Context, b *bus, log *slog.Logger) error {
	page, err := statuspage.New(statuspage.Config{
		Fleet:   snapshot.New(b.js, b.layout),
		Recent:  statuspage.NewRecent(b.js, b.layout.Results, b.layout.Subjects()),
		Finder:  find.New(b.js, b.layout, time.Now),
		Stories: timeline.New(timeline.Config{JS: b.js, Layout: b.layout, Obstacles: timeline.Fleet(b.js, b.layout.Control)}),
		Layout:  b.layout, Host: "the sandbox", Version: "sandbox", Log: log,
	})
	if err != nil {
		return fmt.Errorf("making the status page: %w", err)
	}
	w.mux.Handle("/", page.Handler(w.loopback))
	if w.loopback {
		go page.Run(ctx)
	}
	return nil
}
