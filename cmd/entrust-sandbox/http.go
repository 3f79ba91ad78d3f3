package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/entrust-worker/entrust-worker/internal/metrics"
	"github.com/entrust-worker/entrust-worker/internal/statuspage"
)

// defaultHTTPAddr is where a worker's HTTP is by default, and so that of a sandbox.
const defaultHTTPAddr = "127.0.0.1:9464"

// web is the HTTP of the workers in this process: one address for all of them. It is made by
// startWeb and ended by close.
type web struct {
	url      string
	loopback bool // only this host reaches it
	registry *prometheus.Registry
	mux      *http.ServeMux
	server   *http.Server
}

// startWeb listens on addr, or where that is "" on the default address, or on any port where
// that is taken.
func startWeb(ctx context.Context, addr string) (*web, error) {
	var lc net.ListenConfig
	wanted := addr
	if addr == "" {
		wanted = defaultHTTPAddr
	}
	l, err := lc.Listen(ctx, "tcp", wanted)
	if errors.Is(err, syscall.EADDRINUSE) && addr == "" {
		l, err = lc.Listen(ctx, "tcp", "127.0.0.1:0")
	}
	if err != nil {
		return nil, fmt.Errorf("listening for HTTP: %w", err)
	}
	w := &web{url: "http://" + l.Addr().String(), loopback: statuspage.Loopback(l.Addr()), registry: prometheus.NewRegistry(), mux: http.NewServeMux()}
	w.mux.Handle("GET /metrics", promhttp.HandlerFor(w.registry, promhttp.HandlerOpts{}))
	w.mux.HandleFunc("GET /healthz", func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprintln(rw, "ok") })
	w.server = &http.Server{Handler: w.mux, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = w.server.Serve(l) }() // it ends with close
	return w, nil
}

// metrics are those of one more worker, told apart by the label worker: 1, 2, …
func (w *web) metrics(number int) *metrics.Worker {
	return metrics.New(prometheus.WrapRegistererWith(prometheus.Labels{"worker": strconv.Itoa(number)}, w.registry))
}

func (w *web) close() { _ = w.server.Close() }
