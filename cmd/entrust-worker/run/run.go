// Package run is the verb that works: it wires the worker and keeps it running.
package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/config"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/metrics"
	"github.com/entrust-worker/entrust-worker/internal/mtlscache"
	"github.com/entrust-worker/entrust-worker/internal/telemetry"
	"github.com/entrust-worker/entrust-worker/internal/worker"
)

// Command is the verb. What ends the worker is logged in the format of its log, in one
// line.
func Command(t *terminal.Terminal, loader *config.Loader, version string) *cobra.Command {
	scrub := loader.Scrubber()
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Work: take requests, call the gateway, publish results",
		Long: `Take requests from NATS, call the gateway, and publish results, until SIGTERM or
SIGINT. The worker then finishes the messages in flight within --drain. A second signal
ends it at once. On SIGHUP the worker reads the key pair and the policy file again, and
probes a gateway that refused it.

The log goes to standard error: text on a terminal, otherwise one JSON object a line.
The verb has no flags of its own: entrust-worker options lists the configuration flags.`,
		Example: `  entrust-worker run --provision
  entrust-worker run --config worker.yaml --log-format json`,
	}
	log := func(cfg config.Log) *slog.Logger { return newLog(cfg, t.Err, scrub) }
	early := func(cmd *cobra.Command) *slog.Logger { return log(loader.Log(cmd.Flags())) }
	cmd.Args = func(cmd *cobra.Command, args []string) error { return fatal(early(cmd), usage.NoArgs(cmd, args)) }
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return fatal(early(cmd), usage.FlagError(cmd, err)) })
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := loader.Worker(cmd.Flags())
		if s == nil {
			return fatal(early(cmd), err)
		}
		if err != nil {
			return fatal(log(s.Log), err)
		}
		return fatal(log(s.Log), work(cmd.Context(), s, scrub, version, log(s.Log)))
	}
	return cmd
}

// work is the life of a worker.
func work(ctx context.Context, s *config.Settings, scrub *config.Scrubber, version string, log *slog.Logger) error {
	collectLess()
	// The libraries read the process's own variables, whatever environment the command was given.
	exported := telemetry.Start(ctx, os.Getenv, version, log)
	log = exported.Log(log, func(_ []string, a slog.Attr) slog.Attr { return readable(a, scrub) })
	defer exported.StopWithin(ctx, s.Drain, log)()
	log.Info("starting", "version", version, "gateway", s.Gateway.URL, "ca", s.Gateway.CAID, "nats", s.NATSServer())

	for _, warning := range s.LooseFiles() {
		log.Warn("a file is not protected", "warning", warning)
	}
	cache, err := mtlscache.New(s.Transport(log))
	if err != nil {
		return usage.WithHint(fmt.Errorf("loading the client key pair: %w", s.ExplainKeyPair(err)), "replace the files; entrust-worker check tries them")
	}
	defer cache.Close()
	for _, warning := range cache.Warnings() {
		log.Warn("loading the client key pair", "warning", scrub.Scrub(warning))
	}
	client, err := gateway.New(s.GatewayClient(), &http.Client{Transport: cache}, log)
	if err != nil {
		return usage.Wrap(err)
	}

	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	bus, err := connect.OpenForever(s, scrub, log, func() { fail(nats.ErrConnectionClosed) })
	if err != nil {
		return err
	}
	defer bus.Close()

	// Health is served from here on: waiting for NATS is not being dead.
	registry := prometheus.NewRegistry()
	describe(registry, cache, bus.JS.Conn(), version)
	page, err := newPage(s, bus, version, log)
	if err != nil {
		return err
	}
	health := readiness{work: ctx, bus: bus, cache: cache}
	_, stop, err := serve(s, registry, page, health.check, log)
	if err != nil {
		return err
	}
	defer stop()
	rules, err := openPolicy(ctx, s, registry, log)
	if err != nil {
		return err
	}
	cfg := worker.Config{Config: s.Consumer(metrics.New(registry)), WatchdogEvery: s.WatchdogEvery, Version: version, FeedEvery: s.Gateway.Feed}
	cfg.Tracer = exported.Tracer()
	cfg.Credentials = func() (time.Time, error) { return cache.NotAfter(), cache.Check() }
	if rules != nil {
		cfg.Policy = rules.Policy
	}
	if err := openAudit(s, cache, &cfg.Config, log); err != nil {
		return err
	}
	w, err := worker.New(cfg, bus.JS, client, log)
	if err != nil {
		return usage.Wrap(err)
	}
	manager := supervisor{log: log}
	watched := files{cache: cache, explain: s.ExplainKeyPair, rules: rules, wake: w.Wake, manager: manager, log: log}
	defer watched.watch()()
	manager.ready("waiting for NATS")
	defer context.AfterFunc(ctx, manager.stopping)()

	if err := prepare(ctx, bus, s.Provision, log); err != nil {
		if errors.Is(err, context.Canceled) && ctx.Err() != nil {
			return nil // stopped before there was anything to do
		}
		return err
	}
	health.prepared.Store(true)
	manager.ready("working")
	if err := w.Run(ctx); err != nil {
		return err
	}
	if cause := context.Cause(ctx); errors.Is(cause, nats.ErrConnectionClosed) {
		return fmt.Errorf("working: %w", cause)
	}
	return nil
}
