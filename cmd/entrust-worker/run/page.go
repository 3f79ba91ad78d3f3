package run

import (
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/config"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/internal/find"
	"github.com/entrust-worker/entrust-worker/internal/snapshot"
	"github.com/entrust-worker/entrust-worker/internal/statuspage"
	"github.com/entrust-worker/entrust-worker/internal/timeline"
)

// newPage makes the status page of this worker. It asks the server nothing.
func newPage(s *config.Settings, bus *connect.Bus, version string, log *slog.Logger) (*statuspage.Page, error) {
	host, err := os.Hostname()
	if err != nil {
		host = "an unknown host"
	}
	page, err := statuspage.New(statuspage.Config{
		Fleet:   snapshot.New(bus.JS, bus.Layout),
		Recent:  statuspage.NewRecent(bus.JS, bus.Layout.Results, bus.Subjects),
		Finder:  find.New(bus.JS, bus.Layout, time.Now),
		Stories: timeline.New(timeline.Config{JS: bus.JS, Layout: bus.Layout, Obstacles: timeline.Fleet(bus.JS, bus.Layout.Control)}),
		Layout:  bus.Layout, Token: s.HTTP.Token.Reveal(), Host: host, Version: version, Log: log,
	})
	if err != nil {
		return nil, fmt.Errorf("making the status page: %w", err)
	}
	return page, nil
}
