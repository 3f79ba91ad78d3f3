package main

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/spf13/pflag"

	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
)

// options are the flags of a sandbox.
type options struct {
	plan         plan
	approveAfter time.Duration
	latency      time.Duration
	workers      int
	dialect      string
	data         string
	addr         string
	httpAddr     string
	giveUp       time.Duration
	once, json   bool
	quiet        bool
	verbose      bool

	// chosen tells whether a flag was given.
	chosen func(name string) bool
}

func defaultOptions() *options {
	return &options{
		plan:         plan{Orders: 200, Pending: 0.33, Reject: 0.05, Revoke: 0.1, Seed: 1},
		approveAfter: 2 * time.Second,
		latency:      20 * time.Millisecond,
		workers:      1,
		dialect:      string(gateway.DialectAuto),
		giveUp:       time.Minute,
	}
}

func (o *options) register(f *pflag.FlagSet) {
	f.SortFlags = false
	f.IntVar(&o.plan.Orders, "orders", o.plan.Orders, "certificates to order")
	f.Float64Var(&o.plan.Pending, "pending", o.plan.Pending, "share of the orders that wait for approval, 0 to 1")
	f.Float64Var(&o.plan.Reject, "reject", o.plan.Reject, "share of the orders that are rejected, 0 to 1")
	f.Float64Var(&o.plan.Revoke, "revoke", o.plan.Revoke, "share of the orders whose certificate is revoked afterwards, 0 to 1")
	f.DurationVar(&o.approveAfter, "approve-after", o.approveAfter, "how long an order waits for approval")
	f.DurationVar(&o.latency, "latency", o.latency, "how long the gateway takes to answer")
	f.IntVar(&o.workers, "workers", o.workers, "workers to run; 0: none, you start entrust-worker yourself")
	f.Uint64Var(&o.plan.Seed, "seed", o.plan.Seed, "seed that decides which orders wait and which are rejected")
	f.StringVar(&o.dialect, "dialect", o.dialect, "the gateway's dialect: certctl, cagw or auto")
	f.StringVar(&o.data, "data", o.data, "folder for all data; a later run continues from it (default: a temporary folder)")
	f.StringVar(&o.addr, "addr", o.addr, "address for NATS clients (default: 127.0.0.1:4222, or a free port)")
	f.StringVar(&o.httpAddr, "http-addr", o.httpAddr, "HTTP address of the workers (default: 127.0.0.1:9464, or a free port)")
	f.DurationVar(&o.giveUp, "give-up", o.giveUp, "count requests as lost when no result came for this long")
	f.BoolVar(&o.once, "once", false, "exit after the batch, with 1 if it did not end as planned")
	f.BoolVar(&o.json, "json", false, "print the summary as one JSON object")
	f.BoolVar(&o.quiet, "quiet", false, "print the summary only")
	f.BoolVar(&o.verbose, "verbose", false, "print the worker's log to stderr instead of DIR/worker.log")
}

// maxOrders bounds a batch: all of it is held in memory.
const maxOrders = 1_000_000

// maxLatency keeps the worker's timeouts, which grow with the latency, below ackWait.
const maxLatency = 4 * time.Second

func (o *options) validate() error {
	var errs []error
	refuse := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if o.plan.Orders < 0 || o.plan.Orders > maxOrders {
		refuse("--orders must be 0 to %d, is %d", maxOrders, o.plan.Orders)
	}
	for _, f := range []struct {
		flag  string
		value float64
	}{{"pending", o.plan.Pending}, {"reject", o.plan.Reject}, {"revoke", o.plan.Revoke}} {
		if !(f.value >= 0 && f.value <= 1) {
			refuse("--%s must be 0 to 1, is %v", f.flag, f.value)
		}
	}
	if o.plan.Reject+o.plan.Revoke > 1 {
		refuse("--reject and --revoke must not exceed 1 together, since a rejected order has no certificate to revoke: %v + %v", o.plan.Reject, o.plan.Revoke)
	}
	if o.approveAfter < 0 {
		refuse("--approve-after must not be negative, is %v", o.approveAfter)
	}
	if o.latency < 0 || o.latency > maxLatency {
		refuse("--latency must be 0s to %v, is %v", maxLatency, o.latency)
	}
	if o.workers < 0 || o.workers > 64 {
		refuse("--workers must be 0 to 64, is %d", o.workers)
	}
	if o.giveUp <= 0 {
		refuse("--give-up must be more than 0, is %v", o.giveUp)
	}
	if _, err := simulated(o.dialect); err != nil {
		errs = append(errs, fmt.Errorf("--dialect %w", err))
	}
	if o.addr != "" {
		if _, _, err := net.SplitHostPort(o.addr); err != nil {
			refuse("--addr must be host:port, is %q", o.addr)
		}
	}
	if o.httpAddr != "" {
		if _, _, err := net.SplitHostPort(o.httpAddr); err != nil {
			refuse("--http-addr must be host:port, is %q", o.httpAddr)
		}
	}
	return errors.Join(errs...)
}

// simulated is what the simulator speaks where the worker is told this dialect.
func simulated(dialect string) (gatewaytest.Dialect, error) {
	switch gateway.Dialect(dialect) {
	case gateway.DialectCertctl:
		return gatewaytest.CertCtl, nil
	case gateway.DialectCAGW:
		return gatewaytest.CAGW, nil
	case gateway.DialectAuto:
		return gatewaytest.Both, nil
	}
	return "", fmt.Errorf("must be certctl, cagw or auto, is %q", dialect)
}
