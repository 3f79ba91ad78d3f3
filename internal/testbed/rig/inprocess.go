package rig

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/consumer"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/mtlscache"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/worker"
)

// InProcess is a worker that runs as goroutines of this process.
type InProcess struct {
	stop context.CancelFunc
	done chan struct{} // closed when everything of the worker is closed
	err  error         // of the run; read after done
}

// watchdogEvery is short: a killed worker may leave records open, and the oracle waits
// until the watchdog closes them.
const watchdogEvery = 10 * time.Second

// RunWorker starts a worker, wired like the command's, on a connection of its own. It
// returns when the streams are verified. The worker runs until Stop. When the worker ends
// or cannot start, RunWorker closes the connection and calls after, which may be nil.
func RunWorker(ctx context.Context, natsURL string, cfg consumer.Config, gw worker.Gateway, after func(), log *slog.Logger) (*InProcess, error) {
	if after == nil {
		after = func() {}
	}
	nc, err := nats.Connect(natsURL, nats.Name("entrust-worker"), nats.MaxReconnects(-1),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { log.Error("NATS reports an error", "err", err) }))
	if err != nil {
		after()
		return nil, err
	}
	js, err := jetstream.New(nc)
	if err == nil {
		err = streams.Verify(ctx, js, cfg.Layout)
	}
	var w *worker.Worker
	if err == nil {
		w, err = worker.New(worker.Config{Config: cfg, WatchdogEvery: watchdogEvery}, js, gw, log)
	}
	if err != nil {
		nc.Close()
		after()
		return nil, err
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p := &InProcess{stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.err = w.Run(run)
		nc.Close()
		after()
	}()
	return p, nil
}

// Stop drains the worker and returns the error of its run.
func (p *InProcess) Stop() error {
	p.stop()
	<-p.done
	return p.err
}

// StopAll drains workers concurrently.
func StopAll(workers []*InProcess) error {
	for _, w := range workers {
		w.stop()
	}
	var errs []error
	for _, w := range workers {
		errs = append(errs, w.Stop())
	}
	return errors.Join(errs...)
}

// NewGateway returns a client of a gateway over mutual TLS, and its transport, which the
// caller closes.
func NewGateway(cfg gateway.Config, transport mtlscache.Config, log *slog.Logger) (*gateway.Client, *mtlscache.Cache, error) {
	transport.DialContext, transport.Log = gateway.HearAlerts(transport.DialContext), log
	cache, err := mtlscache.New(transport)
	if err != nil {
		return nil, nil, err
	}
	client, err := gateway.New(cfg, &http.Client{Transport: cache}, log)
	if err != nil {
		cache.Close()
		return nil, nil, err
	}
	return client, cache, nil
}
