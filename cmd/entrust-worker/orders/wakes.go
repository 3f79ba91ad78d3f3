package orders

import (
	"cmp"
	"context"
	"hash/maphash"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/wakeup"
)

// fewOrders is up to how many orders are read one wake-up at a time. Beyond that
// one scan of all wake-ups costs less.
const fewOrders = 200

// wake is when a waiting order is woken next, and how often it was polled.
type wake struct {
	at    time.Time
	polls int
}

// wakes finds the wake-ups of waiting orders.
type wakes struct {
	store *wakeup.Store
	all   map[uint64]wake // nil: ask for each
	seed  maphash.Seed
}

// readWakes scans all wake-ups when many are wanted. It holds some 50 bytes for each
// waiting order. The error is the first of those met; what was read counts all the same.
func readWakes(ctx context.Context, store *wakeup.Store, many bool) (*wakes, error) {
	w := &wakes{store: store, seed: maphash.MakeSeed()}
	if !many {
		return w, nil
	}
	var first error
	w.all = map[uint64]wake{}
	for s, err := range store.All(ctx) {
		if err != nil {
			first = cmp.Or(first, err)
			continue
		}
		// Of a schedule and a due message of one order, the later one comes last.
		w.all[maphash.String(w.seed, s.Key.String())] = wake{s.Due, s.Polls}
	}
	return w, first
}

// of returns the wake-up of an order, zero where it has none at this moment.
func (w *wakes) of(ctx context.Context, key order.Key) (wake, error) {
	if w.all != nil {
		return w.all[maphash.String(w.seed, key.String())], nil
	}
	s, _, err := w.store.Find(ctx, key)
	if err != nil || s == nil {
		return wake{}, err
	}
	return wake{s.Due, s.Polls}, nil
}
