package main

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
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/mtlscache"
	"github.com/entrust-worker/entrust-worker/internal/pollsched"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// tuning is what a sandbox sets otherwise than the worker's defaults: people
// watch, the gateway is near, and a batch that was killed is to go on soon.
// A worker started by hand gets the same by the environment file.
type tuning struct {
	issue, revoke, poll int
	schedule            pollsched.Schedule
	maxWait             time.Duration
	enrollTimeout       time.Duration
	timeout             time.Duration
	connectTimeout      time.Duration
	eventDelay          time.Duration
	drain               time.Duration
}

func (o *options) tuning() tuning {
	return tuning{
		issue: 16, revoke: 8, poll: 32,
		schedule: pollsched.Schedule{
			First: time.Second, Max: 5 * time.Second, Factor: 1.5, Jitter: 0.2, RetryAfterMax: 15 * time.Second,
		},
		maxWait:        10*time.Minute + 2*o.approveAfter,
		enrollTimeout:  2*time.Second + 2*o.latency,
		timeout:        5*time.Second + 2*o.latency,
		connectTimeout: 2 * time.Second,
		eventDelay:     time.Second,
		drain:          5 * time.Second,
	}
}

// worker is one worker as a process of its own would run it: its own connection
// to NATS, its own transport to the gateway.
type worker struct {
	nc    *nats.Conn
	cache *mtlscache.Cache
	done  chan struct{} // closed when Run has returned
	err   error         // of Run; read after done
	stop  context.CancelFunc
}

// startWorker returns a worker that runs until close.
func startWorker(natsURL string, layout streams.Layout, gw *gatewaytest.Server, o *options, log *slog.Logger) (*worker, error) {
	t := o.tuning()
	cache, err := mtlscache.New(mtlscache.Config{
		CertFile: gw.ClientCert(), KeyFile: gw.ClientKey(), ServerCAFile: gw.ServerCA(),
		MaxConnsPerHost: t.issue + t.revoke + t.poll,
		DialTimeout:     t.connectTimeout, TLSTimeout: t.connectTimeout,
		DialContext: gateway.HearAlerts(nil), Log: log,
	})
	if err != nil {
		return nil, err
	}
	client, err := gateway.New(gateway.Config{
		URL: gw.URL(), CAID: gw.CAID(), ProfileID: gw.Profile(), Dialect: gateway.Dialect(o.dialect),
		EnrollTimeout: t.enrollTimeout, Timeout: t.timeout,
	}, &http.Client{Transport: cache}, log)
	if err != nil {
		return nil, err
	}
	nc, err := nats.Connect(natsURL, nats.Name("entrust-worker"), nats.MaxReconnects(-1))
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc)
	if err == nil {
		err = streams.Verify(context.Background(), js, layout)
	}
	var w *consumer.Worker
	if err == nil {
		w, err = consumer.New(consumer.Config{
			Layout: layout, CAID: gw.CAID(), ProfileID: gw.Profile(),
			Issue: t.issue, Revoke: t.revoke, Poll: t.poll, Schedule: t.schedule, MaxWait: t.maxWait,
			EnrollTimeout: t.enrollTimeout, EventDelay: t.eventDelay, Drain: t.drain,
		}, js, client, log)
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	run := &worker{nc: nc, cache: cache, done: make(chan struct{}), stop: cancel}
	go func() {
		defer close(run.done)
		run.err = w.Run(ctx)
	}()
	return run, nil
}

// close drains the worker and returns the error that ended it, if one did.
func (w *worker) close() error {
	w.stop()
	<-w.done
	w.nc.Close()
	w.cache.Close()
	return w.err
}

// closeAll drains all workers at once.
func closeAll(workers []*worker) error {
	for _, w := range workers {
		w.stop()
	}
	var errs []error
	for _, w := range workers {
		errs = append(errs, w.close())
	}
	return errors.Join(errs...)
}
