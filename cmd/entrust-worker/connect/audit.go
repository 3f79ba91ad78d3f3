package connect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/entrust-worker/entrust-worker/internal/audit"
)

// Audit writes what an operator is about to do to the audit trail, as a chain of its own,
// and returns when it is stored. Where there is no trail it does nothing.
func (b *Bus) Audit(ctx context.Context, all ...*audit.Record) error {
	ctx, cancel := b.Step(ctx)
	defer cancel()
	_, err := b.JS.Stream(ctx, b.Layout.Audit)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading stream %s: %w", b.Layout.Audit, err)
	}
	trail := audit.New(audit.Config{
		JS: b.JS, Stream: b.Layout.Audit, Subjects: b.Subjects, Chain: "operator-" + nuid.Next(), Token: audit.OfOperator,
		Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	go trail.Run(ctx)
	for _, r := range all {
		if err := trail.Append(ctx, "", r); err != nil {
			return err
		}
	}
	return trail.Close(ctx)
}
