package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// retryEvery is the pause between two tries to reach NATS or JetStream at start.
const retryEvery = 2 * time.Second

// prepare waits for NATS, provisions if it is to, and returns when streams and consumers
// were verified. Streams that are wrong are an error at once; JetStream that does not
// answer, as in a cluster that has no leader yet, is waited for.
func prepare(ctx context.Context, bus *connect.Bus, provision bool, log *slog.Logger) error {
	if err := waitConnected(ctx, bus.Conn, log); err != nil {
		return err
	}
	for begin, tries := time.Now(), 1; ; tries++ {
		err := provisionAndVerify(ctx, bus, provision, log)
		if err == nil && tries > 1 {
			log.Info("JetStream answers", "outage", time.Since(begin).Round(time.Millisecond), "tries", tries)
		}
		if err == nil || !passing(err) {
			return connect.ExplainStreams(err)
		}
		args := []any{"wait", retryEvery, "err", err}
		if hint := usage.Hint(bus.Explain(err)); hint != "" {
			args = append(args, "hint", hint)
		}
		log.Warn("JetStream does not answer; trying again", args...)
		if err := sleep(ctx, retryEvery); err != nil {
			return err
		}
	}
}

func provisionAndVerify(ctx context.Context, bus *connect.Bus, provision bool, log *slog.Logger) error {
	if provision {
		changes, err := streams.Provision(ctx, bus.JS, bus.Layout)
		for _, c := range changes {
			log.Info("created", "kind", c.Kind, "name", c.Name)
		}
		if err != nil {
			return err
		}
	}
	found, err := streams.Inspect(ctx, bus.JS, bus.Layout)
	if err != nil {
		return err
	}
	for _, f := range found {
		if f.Note {
			log.Warn("not as configured", "object", f.Object, "setting", f.Setting, "want", f.Want, "got", f.Got)
		}
	}
	return streams.Verify(ctx, bus.JS, bus.Layout)
}

// passing reports whether an error may go away by itself.
func passing(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) ||
		errors.Is(err, nats.ErrNoResponders) || errors.Is(err, nats.ErrConnectionReconnecting) || errors.Is(err, nats.ErrDisconnected)
}

// waitConnected returns when the first connection is made. The connection's own handlers
// log the refusals meanwhile.
func waitConnected(ctx context.Context, nc *nats.Conn, log *slog.Logger) error {
	for logged := false; !nc.IsConnected(); logged = true {
		if nc.IsClosed() {
			return fmt.Errorf("connecting to NATS: %w", errors.Join(nats.ErrConnectionClosed, nc.LastError()))
		}
		if !logged {
			log.Warn("waiting for NATS")
		}
		if err := sleep(ctx, retryEvery/20); err != nil {
			return err
		}
	}
	return nil
}

// sleep waits, and returns early with the context's cause.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
