package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/internal/consumer"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/mtlscache"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// lookAgain is the pause between two tries to reach NATS or JetStream at start.
const lookAgain = 2 * time.Second

func runCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "run",
		Short: "Work: take requests, call the gateway, publish results",
		Long: `Take requests from NATS, call the gateway, and publish results, until SIGTERM or
SIGINT; then finish what is in hand within --drain. A second signal ends at once.
SIGHUP looks at the key pair on disk now.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.worker(cmd)
			if err != nil {
				return err
			}
			return s.work(cmd.Context(), newLog(s.Log, a.err))
		},
	}
}

// work is the life of a worker.
func (s *settings) work(ctx context.Context, log *slog.Logger) error {
	log.Info("starting", "version", version(), "gateway", s.Gateway.URL, "ca", s.Gateway.CAID, "nats", s.shownURL())

	cache, err := mtlscache.New(s.transportConfig(log))
	if err != nil {
		return withHint(fmt.Errorf("loading the client key pair: %w", err), "entrust-worker check tells what is wrong with it")
	}
	defer cache.Close()
	client, err := gateway.New(s.gatewayConfig(), &http.Client{Transport: cache}, log)
	if err != nil {
		return &usageError{err}
	}

	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	nc, err := s.connectForever(log, func() { fail(nats.ErrConnectionClosed) })
	if err != nil {
		return err
	}
	defer nc.Close()

	// Health is served from here on: waiting for NATS is not being dead.
	registry := prometheus.NewRegistry()
	var prepared atomic.Bool
	stop, err := s.serve(registry, func(ctx context.Context) error {
		if !prepared.Load() && !nc.IsConnected() {
			return errors.New("starting: not connected to NATS")
		}
		if !prepared.Load() {
			return errors.New("starting: NATS and the streams are not verified yet")
		}
		return s.ready(ctx, nc, cache)
	}, cache, log)
	if err != nil {
		return err
	}
	defer stop()
	defer lookOnHangup(cache, log)()

	if err := s.prepare(ctx, nc, log); err != nil {
		if errors.Is(err, context.Canceled) && ctx.Err() != nil {
			return nil // told to stop before there was anything to do
		}
		return err
	}
	worker, err := consumer.New(s.consumerConfig(consumer.NewMetrics(registry)), nc.js, client, log)
	if err != nil {
		return &usageError{err}
	}
	prepared.Store(true)
	if err := worker.Run(ctx); err != nil {
		return err
	}
	if cause := context.Cause(ctx); errors.Is(cause, nats.ErrConnectionClosed) {
		return fmt.Errorf("working: %w", cause)
	}
	return nil
}

// prepare waits for NATS, provisions if told to, and returns when streams and consumers
// were verified. Streams that are wrong are an error at once; JetStream that does not
// answer, as in a cluster that has no leader yet, is waited for.
func (s *settings) prepare(ctx context.Context, nc *connection, log *slog.Logger) error {
	if err := waitConnected(ctx, nc.Conn, log); err != nil {
		return err
	}
	for {
		err := s.provisionAndVerify(ctx, nc, log)
		if err == nil || !passing(err) {
			return explainStreams(err)
		}
		args := []any{"wait", lookAgain, "err", err}
		if h, ok := errors.AsType[*hintError](explainStreams(err)); ok {
			args = append(args, "hint", h.hint)
		}
		log.Warn("JetStream does not answer; trying again", args...)
		if err := pause(ctx, lookAgain); err != nil {
			return err
		}
	}
}

func (s *settings) provisionAndVerify(ctx context.Context, nc *connection, log *slog.Logger) error {
	if s.Provision {
		changes, err := streams.Provision(ctx, nc.js, s.layout())
		for _, c := range changes {
			log.Info("created", "kind", c.Kind, "name", c.Name)
		}
		if err != nil {
			return err
		}
	}
	found, err := streams.Inspect(ctx, nc.js, s.layout())
	if err != nil {
		return err
	}
	for _, f := range found {
		if f.Note {
			log.Warn("not as configured", "object", f.Object, "setting", f.Setting, "want", f.Want, "got", f.Got)
		}
	}
	return streams.Verify(ctx, nc.js, s.layout())
}

// passing tells whether an error may go away without anybody's doing.
func passing(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) ||
		errors.Is(err, nats.ErrNoResponders) || errors.Is(err, nats.ErrConnectionReconnecting) || errors.Is(err, nats.ErrDisconnected)
}

// waitConnected returns when the first connection is made. The refusals meanwhile are
// logged by the connection's own handlers.
func waitConnected(ctx context.Context, nc *nats.Conn, log *slog.Logger) error {
	for told := false; !nc.IsConnected(); told = true {
		if nc.IsClosed() {
			return fmt.Errorf("connecting to NATS: %w", errors.Join(nats.ErrConnectionClosed, nc.LastError()))
		}
		if !told {
			log.Warn("waiting for NATS")
		}
		if err := pause(ctx, lookAgain/20); err != nil {
			return err
		}
	}
	return nil
}

// pause waits, and returns early with the context's cause.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// lookOnHangup makes each SIGHUP look at the key pair on disk, until the function it
// returns is called.
func lookOnHangup(cache *mtlscache.Cache, log *slog.Logger) func() {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case <-hangup:
			}
			if err := cache.Look(); err != nil {
				log.Error("looking at the key pair", "err", err)
				continue
			}
			log.Info("looked at the key pair", "not_after", cache.NotAfter())
		}
	}()
	return func() {
		signal.Stop(hangup)
		close(done)
	}
}

// shownURL is where NATS is, as it may be logged.
func (s *settings) shownURL() string {
	if s.NATS.Context != "" {
		return "context " + s.NATS.Context
	}
	return redactedURLs(s.NATS.URL)
}
