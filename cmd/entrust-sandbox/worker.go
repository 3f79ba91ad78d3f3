package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/consumer"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/metrics"
	"github.com/entrust-worker/entrust-worker/internal/mtlscache"
	"github.com/entrust-worker/entrust-worker/internal/pollsched"
	"github.com/entrust-worker/entrust-worker/internal/testbed/rig"
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

// startWorker starts one worker as a process of its own would run it: its own
// connection to NATS, its own transport to the gateway.
func startWorker(ctx context.Context, b *bus, gw *gatewaytest.Server, o *options, figures *metrics.Worker, log *slog.Logger) (*rig.InProcess, error) {
	t := o.tuning()
	client, transport, err := rig.NewGateway(gateway.Config{
		URL: gw.URL(), CAID: gw.CAID(), ProfileID: gw.Profile(), Dialect: gateway.Dialect(o.dialect),
		EnrollTimeout: t.enrollTimeout, Timeout: t.timeout,
	}, mtlscache.Config{
		CertFile: gw.ClientCert(), KeyFile: gw.ClientKey(), ServerCAFile: gw.ServerCA(),
		MaxConnsPerHost: t.issue + t.revoke + t.poll,
		DialTimeout:     t.connectTimeout, TLSTimeout: t.connectTimeout,
	}, log)
	if err != nil {
		return nil, err
	}
	return rig.RunWorker(ctx, b.url(), consumer.Config{
		Layout: b.layout, Gateway: gw.URL(), CAID: gw.CAID(), ProfileID: gw.Profile(),
		Issue: t.issue, Revoke: t.revoke, Poll: t.poll, Schedule: t.schedule, MaxWait: t.maxWait,
		EnrollTimeout: t.enrollTimeout, EventDelay: t.eventDelay, Drain: t.drain, Metrics: figures,
	}, client, transport.Close, log)
}
