package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// sleep waits for d, or until ctx is done, and then returns its cause.
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

// backoff doubles a wait up to max. Its zero value never waits.
type backoff struct{ first, max, last time.Duration }

func (b *backoff) next() time.Duration {
	if b.last == 0 {
		b.last = b.first
	} else {
		b.last = min(2*b.last, b.max)
	}
	return b.last
}

func (b *backoff) reset() { b.last = 0 }

// publishTry bounds one publish of persist.
const publishTry = 5 * time.Second

// persist repeats a write to the bus until it succeeds, with the message that
// it is for in hand. The gateway has answered by then: giving up would turn a
// known answer into an unknown one. A lane whose writes fail fills its slots
// and fetches no more, so that a full stream stops new work by itself. Only a
// stop ends it.
func (w *Worker) persist(ctx context.Context, what string, write func(context.Context) error) error {
	pause := backoff{first: 100 * time.Millisecond, max: 15 * time.Second}
	for {
		try, cancel := context.WithTimeout(ctx, publishTry)
		err := write(try)
		cancel()
		if err == nil || final(err) {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w (last: %v)", what, context.Cause(ctx), err)
		}
		wait := pause.next()
		w.log.WarnContext(ctx, what+"; trying again", "trouble", streams.Trouble(err), "wait", wait, "err", err)
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// final reports whether repeating a write cannot change its answer.
func final(err error) bool {
	return errors.Is(err, ledger.ErrConflict) || errors.Is(err, nats.ErrMaxPayload)
}
