package consumer

import (
	"context"
	"errors"
	"sync"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// mendAtOnce is how many repairs are under way at once. It bounds what a look holds
// beside its list, and how fast it can be when many slots were lost.
const mendAtOnce = 32

// Repairs counts what one look of the watchdog put right.
type Repairs struct {
	Stuck int // slots whose time had passed without a wake-up
	Lost  int // parked orders with neither slot nor due message
	Dead  int // due messages that the server keeps and will never deliver, removed
}

// mending is the repairs of one look, side by side.
type mending struct {
	ctx   context.Context // ends with the look, or when the bus is in trouble
	group *errgroup.Group

	mu      sync.Mutex
	repairs Repairs
	failed  int   // orders that could not be put right
	first   error // why the first of them
}

func mend(ctx context.Context) *mending {
	m := new(mending)
	m.group, m.ctx = errgroup.WithContext(ctx)
	m.group.SetLimit(mendAtOnce)
	return m
}

// do begins a repair and waits where too many are under way. repair says whether
// there was something to put right, which is counted in what.
func (m *mending) do(what *int, repair func(context.Context) (bool, error)) {
	m.group.Go(func() error {
		mended, err := repair(m.ctx)
		switch {
		case err == nil && mended:
			m.count(what)
		case err == nil:
		case m.ctx.Err() != nil:
			return context.Cause(m.ctx)
		case ofTheBus(err):
			return err
		default:
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.failed++; m.first == nil {
				m.first = err
			}
		}
		return nil
	})
}

func (m *mending) count(what *int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	*what++
}

// wait returns when every repair has ended, with what ended them early.
func (m *mending) wait() error { return m.group.Wait() }

// ofTheBus reports whether a repair failed of something that the next one would
// meet too. Anything else is the order's own.
func ofTheBus(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) ||
		(streams.Trouble(err) != "" && !streams.IsTooLarge(err))
}
