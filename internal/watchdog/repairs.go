package watchdog

import (
	"context"
	"errors"
	"sync"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// repairsAtOnce is the most repairs that run at once. It bounds what a scan holds, and how fast
// it repairs when many wake-ups were lost.
const repairsAtOnce = 32

// repairing holds the repairs of one scan, which run in parallel.
type repairing struct {
	ctx   context.Context // ends when during returns, or when the bus fails
	group *errgroup.Group

	mu      sync.Mutex
	repairs Repairs
	failed  int   // count of orders that could not be woken
	first   error // of the first of them
}

// during runs read, which may start repairs, and returns when all of them have ended. So two
// parts of a scan never repair the same order at once. An error that ended the repairs comes
// before the error of read.
func (r *repairing) during(ctx context.Context, read func() error) error {
	r.group, r.ctx = errgroup.WithContext(ctx)
	r.group.SetLimit(repairsAtOnce)
	err := read()
	if ended := r.group.Wait(); ended != nil {
		return ended
	}
	return err
}

// do starts a repair, and waits while too many are running. repair returns whether it repaired
// something; do counts that in what.
func (r *repairing) do(what *int, repair func(context.Context) (bool, error)) {
	r.group.Go(func() error {
		repaired, err := repair(r.ctx)
		switch {
		case err == nil && repaired:
			r.count(what)
		case err == nil:
		case r.ctx.Err() != nil:
			return context.Cause(r.ctx)
		case ofTheBus(err):
			return err
		default:
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.failed++; r.first == nil {
				r.first = err
			}
		}
		return nil
	})
}

func (r *repairing) count(what *int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*what++
}

// ofTheBus reports whether the bus caused the error, so that the next repair would fail too.
// Any other error concerns only this order.
func ofTheBus(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) ||
		(streams.Trouble(err) != "" && !streams.IsRefused(err))
}
