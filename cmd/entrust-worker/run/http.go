package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/config"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/internal/mtlscache"
	"github.com/entrust-worker/entrust-worker/internal/statuspage"
)

// readyWithin bounds what /readyz asks of NATS.
const readyWithin = 2 * time.Second

// serve answers about the worker over HTTP until the function it returns is called. addr is
// where, "" where it does not.
// ready returns why the worker is not, or nil. page is what paths of no other purpose show, nil for nothing.
//
// /healthz is the process alone. /readyz is NATS, the streams and the key pair, never
// the gateway: an outage of it would otherwise take every worker out of service. A worker
// that drains is not ready.
func serve(s *config.Settings, registry *prometheus.Registry, page *statuspage.Page, ready func(context.Context) error, log *slog.Logger) (addr string, stop func(), err error) {
	if s.HTTP.Addr == "" {
		return "", func() {}, nil
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), readyWithin)
		defer cancel()
		if err := ready(ctx); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	if s.HTTP.Pprof {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}

	listener, err := net.Listen("tcp", s.HTTP.Addr)
	if errors.Is(err, syscall.EADDRINUSE) && s.IsDefault("http.addr") {
		// A second worker on one host, most likely. No operator asked for that address.
		log.Warn("the default address is in use: metrics and health are not served", "addr", s.HTTP.Addr)
		return "", func() {}, nil
	}
	if err != nil {
		return "", nil, usage.WithHint(fmt.Errorf("listening on http.addr: %w", err), "set another --http-addr, or an empty one to turn HTTP off; entrust-worker config shows where the address came from")
	}
	unfollow := func() {}
	if page != nil {
		unfollow = mount(mux, page, statuspage.Loopback(listener.Addr()), s.HTTP.Token != "", log)
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("serving HTTP", "err", err)
		}
	}()
	addr = listener.Addr().String()
	log.Info("serving HTTP", "addr", addr)
	return addr, func() {
		unfollow()
		_ = server.Close()
	}, nil
}

// mount serves the status page, which reads the bus until the function it returns is called.
func mount(mux *http.ServeMux, page *statuspage.Page, loopback, hasToken bool, log *slog.Logger) (unfollow func()) {
	mux.Handle("/", page.Handler(loopback))
	ctx, cancel := context.WithCancel(context.Background())
	if loopback || hasToken {
		go page.Run(ctx)
	} else {
		log.Info("the status page is off: http.addr is no loopback address, and http.token is not set")
	}
	return cancel
}

// errDraining is why a worker that stops is not ready. A balancer, and a deployment that
// replaces workers one by one, look at that.
var errDraining = errors.New("draining: the worker finishes the messages in flight and takes no new ones")

// readiness says what keeps a worker from working, the gateway aside.
type readiness struct {
	work     context.Context // the worker drains once it is done
	bus      *connect.Bus
	cache    *mtlscache.Cache
	prepared atomic.Bool // streams and consumers are verified
}

// check returns why the worker is not ready, nil where it is.
func (r *readiness) check(ctx context.Context) error {
	switch {
	case r.work.Err() != nil:
		return errDraining
	case !r.bus.IsConnected() && !r.prepared.Load():
		return errors.New("starting: not connected to NATS")
	case !r.bus.IsConnected():
		return errors.New("not connected to NATS")
	case !r.prepared.Load():
		return errors.New("starting: NATS and the streams are not verified yet")
	}
	for _, name := range []string{r.bus.Layout.Requests, r.bus.Layout.Parked, r.bus.Layout.Results} {
		if _, err := r.bus.JS.Stream(ctx, name); err != nil {
			return fmt.Errorf("reading stream %s: %w", name, err)
		}
	}
	if err := r.cache.Check(); err != nil {
		return fmt.Errorf("key pair: %w", err)
	}
	return nil
}

// describe registers what is known of the process, its key pair and its connection.
func describe(registry *prometheus.Registry, cache *mtlscache.Cache, nc *nats.Conn, version string) {
	const namespace = "entrust_worker"
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", Help: "Always 1; the labels have the versions of the worker and of Go.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	})
	info.Set(1)
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		info,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: namespace, Name: "client_cert_not_after_seconds", Help: "End of the client certificate's validity, in Unix time.",
		}, func() float64 { return float64(cache.NotAfter().Unix()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: namespace, Name: "nats_connected", Help: "1 while this worker is connected to NATS.",
		}, func() float64 { return map[bool]float64{true: 1}[nc.IsConnected()] }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Namespace: namespace, Name: "nats_reconnects_total", Help: "Reconnections of this worker to NATS.",
		}, func() float64 { return float64(nc.Stats().Reconnects) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Namespace: namespace, Name: "key_pair_reloads_total", Help: "Reloads of the key pair after the first load.",
		}, func() float64 { return float64(cache.Reloads()) }),
	)
}
