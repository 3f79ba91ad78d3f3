// Package worker wires one worker: the consumer that handles orders, and besides it the
// watchdog, the metrics of the bus, the certificate feed and the micro service. They
// share its control bucket. The command, the sandbox and the test bed all run this
// worker.
package worker

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/consumer"
	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/feed"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/metrics"
	"github.com/entrust-worker/entrust-worker/internal/snapshot"
	"github.com/entrust-worker/entrust-worker/internal/status"
	"github.com/entrust-worker/entrust-worker/internal/throttle"
	"github.com/entrust-worker/entrust-worker/internal/wakeup"
	"github.com/entrust-worker/entrust-worker/internal/watchdog"
)

// Config configures a Worker.
type Config struct {
	consumer.Config
	// WatchdogEvery is the interval between two scans of the watchdog. Default 5 min.
	WatchdogEvery time.Duration
	// FeedEvery is the interval between two readings of the gateway's certificate events.
	// 0: the worker does not read them, and Layout.Events is empty.
	FeedEvery time.Duration
	// Version is the program's version, for the micro service.
	Version string
	// Credentials is status.Service.Credentials.
	Credentials func() (notAfter time.Time, err error)
}

// Gateway is the client of the CA Gateway. *gateway.Client implements it.
type Gateway interface {
	consumer.Gateway
	feed.Gateway
}

// Worker is one worker of a fleet. Call Run once; Wake may be called at any time.
type Worker struct {
	consumer *consumer.Worker
	watchdog *watchdog.Watchdog
	feed     *feed.Feed // nil: no feed
	service  *status.Service
	metrics  *metrics.Worker
	bus      metrics.Bus
	log      *slog.Logger
}

// New returns a worker that has not started. It does not touch the server. Verify streams
// and consumers before Run. The caller closes the connection of js after Run returns.
func New(cfg Config, js jetstream.JetStream, gw Gateway, log *slog.Logger) (*Worker, error) {
	layout := cfg.Layout
	w := new(Worker)
	bucket := control.Open(control.Config{
		JS: js, Bucket: layout.Control, Worker: consumer.Name(), Gateway: cfg.Gateway, Log: log,
		About: func() control.About { return w.about(cfg.Version, cfg.Credentials) },
	})
	c, err := consumer.New(cfg.Config, js, bucket, gw, log)
	if err != nil {
		return nil, err
	}
	subjects := layout.Subjects()
	*w = Worker{
		consumer: c,
		watchdog: &watchdog.Watchdog{
			JS: js, Layout: layout, Ledger: ledger.New(js, layout.Orders), Wakeups: wakeup.New(js, layout.Parked, subjects),
			Control: bucket, Log: log, Metrics: cfg.Metrics, Every: cmp.Or(cfg.WatchdogEvery, 5*time.Minute), Lease: c.Lease(), Polls: c.PollsIn,
		},
		service: &status.Service{
			NC: js.Conn(), Subjects: subjects, Worker: c, CAID: cfg.CAID, ProfileID: cfg.ProfileID, Policy: cfg.Policy,
			Credentials: cfg.Credentials, Version: cfg.Version, Log: log,
		},
		log:     log,
		metrics: cfg.Metrics,
		bus:     metrics.Bus{Reader: snapshot.New(js, layout), Control: bucket, Log: log},
	}
	if cfg.FeedEvery > 0 {
		w.feed = &feed.Feed{
			JS: js, Stream: layout.Events, Subjects: subjects, Gateway: gw, Cursors: bucket, Lease: bucket.FeedLease(),
			CAs: c.CAs, Turn: c.Turn, Now: c.Now, Every: cfg.FeedEvery, Delay: cfg.EventDelay, Pace: feed.Pace, Log: log,
		}
	}
	return w, nil
}

// about returns the worker's report for the fleet.
func (w *Worker) about(version string, credentials func() (time.Time, error)) control.About {
	a := control.About{Version: version}
	// The bucket itself holds the pauses.
	if err := w.consumer.GatewayProblem(); err != nil && !errors.Is(err, throttle.ErrPaused) {
		a.GatewayProblem = err.Error()
	}
	if credentials != nil {
		end, err := credentials()
		if a.CertificateEnd = end.UTC().Truncate(time.Second); err != nil {
			a.CertificateProblem = err.Error()
		}
	}
	return a
}

// Run works until ctx ends, then drains. It returns nil after a drain, and an error only
// if the worker could not start.
func (w *Worker) Run(ctx context.Context) error {
	aside, end := context.WithCancel(ctx)
	defer end()
	var beside sync.WaitGroup
	beside.Go(func() { w.metrics.Observe(aside, w.bus) })
	beside.Go(func() { w.watchdog.Run(aside) })
	if w.feed != nil {
		beside.Go(func() { w.feed.Run(aside) })
	}
	beside.Go(func() {
		if err := w.service.Run(aside); err != nil {
			w.log.Error("starting the micro service failed; the worker answers no questions", "err", err)
		}
	})
	err := w.consumer.Run(ctx)
	end()
	beside.Wait()
	return err
}

// Wake probes a gateway that refused the worker's credentials at once, for example after
// a new key pair.
func (w *Worker) Wake() { w.consumer.Wake() }
