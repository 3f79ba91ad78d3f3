package orders

import (
	"cmp"
	"context"
	"hash/maphash"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/parking"
)

// fewOrders is up to how many orders are read one wake-up at a time. Beyond that
// one scan of all wake-ups costs less.
const fewOrders = 200

// wake is when a parked order is polled next, and how often it was.
type wake struct {
	at    time.Time
	polls int
}

// wakes finds the wake-ups of parked orders.
type wakes struct {
	lot  *parking.Lot
	all  map[uint64]wake // nil: ask for each
	seed maphash.Seed
}

// readWakes scans all wake-ups when many are wanted. It holds some 50 bytes for each
// parked order. The error is the first of those met; what was read counts all the same.
func readWakes(ctx context.Context, lot *parking.Lot, many bool) (*wakes, error) {
	w := &wakes{lot: lot, seed: maphash.MakeSeed()}
	if !many {
		return w, nil
	}
	var first error
	w.all = map[uint64]wake{}
	for s, err := range lot.All(ctx) {
		if err != nil {
			first = cmp.Or(first, err)
			continue
		}
		// Of a schedule and a due message of one order, the later one comes last.
		w.all[maphash.String(w.seed, s.Key.String())] = wake{s.Due, s.Attempt}
	}
	return w, first
}

// of returns the wake-up of an order, zero where it has none at this moment.
func (w *wakes) of(ctx context.Context, key ledger.Key) (wake, error) {
	if w.all != nil {
		return w.all[maphash.String(w.seed, key.String())], nil
	}
	s, err := w.lot.Slot(ctx, key)
	if err != nil || s == nil {
		return wake{}, err
	}
	return wake{s.Due, s.Attempt}, nil
}
