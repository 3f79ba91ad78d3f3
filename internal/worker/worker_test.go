package worker

import (
	"context"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/entrust-worker/entrust-worker/internal/consumer"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/metrics"
	"github.com/entrust-worker/entrust-worker/internal/mtlscache"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// The watchdog scans beside the consumer, the metrics show its scan, and a stop ends all
// three.
func TestWatchdogAndMetricsRunBesideTheConsumer(t *testing.T) {
	t.Parallel()
	js := testbed.Start(t, "").JetStream(t)
	layout := streams.DefaultLayout()
	if _, err := streams.Provision(t.Context(), js, layout); err != nil {
		t.Fatal(err)
	}
	gw, err := gatewaytest.Start(gatewaytest.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = gw.Close() })
	cache, err := mtlscache.New(mtlscache.Config{CertFile: gw.ClientCert(), KeyFile: gw.ClientKey(), ServerCAFile: gw.ServerCA()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cache.Close)
	client, err := gateway.New(gateway.Config{URL: gw.URL(), CAID: gw.CAID()}, &http.Client{Transport: cache}, nil)
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	w, err := New(Config{
		Config:        consumer.Config{Layout: layout, CAID: gw.CAID(), Gateway: gw.URL(), Metrics: metrics.New(registry)},
		WatchdogEvery: 100 * time.Millisecond,
	}, js, client, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	within, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err = testbed.UntilEvery(within, 50*time.Millisecond, "a scan reaches the metrics", func() (bool, error) {
		at, err := value(registry, "entrust_worker_watchdog_last_scan_timestamp_seconds")
		return at > 0, err
	})
	if err != nil {
		t.Error(err)
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("the worker ended with %v", err)
	}
}

// value returns the value of a gauge without labels.
func value(registry *prometheus.Registry, name string) (float64, error) {
	families, err := registry.Gather()
	if err != nil {
		return 0, err
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue(), nil
		}
	}
	return 0, nil
}
