package watchdog

import (
	"context"
	"errors"
	"sync"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// repairsAtOnce is how many repairs are under way at once. It bounds what a scan holds,
// and how fast it can be when many wake-ups were lost.
const repairsAtOnce = 32

// repairing is the repairs of one scan, side by side.
type repairing struct {
	ctx   context.Context // ends with during, or when the bus is in trouble
	group *errgroup.Group

	mu      sync.Mutex
	repairs Repairs
	failed  int   // orders that could not be woken
	first   error // why the first of them
}

// during runs read, which may begin repairs, and returns when all of them have ended: no
// two parts of a scan repair one order at a time. What ended the repairs early comes first.
func (r *repairing) during(ctx context.Context, read func() error) error {
	r.group, r.ctx = errgroup.WithContext(ctx)
	r.group.SetLimit(repairsAtOnce)
	err := read()
	if ended := r.group.Wait(); ended != nil {
		return ended
	}
	return err
}

// do begins a repair and waits where too many are under way. repair says whether
// there was something to repair, which is counted in what.
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

// ofTheBus reports whether a repair failed for a cause that the next one would meet
// too. Any other is the order's own.
func ofTheBus(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) ||
		(streams.Trouble(err) != "" && !streams.IsRefused(err))
}
