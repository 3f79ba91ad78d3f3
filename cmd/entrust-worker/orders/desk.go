package orders

import (
	"context"
	"fmt"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/wakeup"
)

// desk is what these verbs work with: the bus, the ledger, the wake-ups, and the dead letters.
type desk struct {
	*connect.Bus
	ledger  *ledger.Ledger
	wakeups *wakeup.Store
	letters *deadletter.Box
}

func newDesk(bus *connect.Bus) *desk {
	return &desk{
		Bus:     bus,
		ledger:  ledger.New(bus.JS, bus.Layout.Orders),
		wakeups: wakeup.New(bus.JS, bus.Layout.Parked, bus.Subjects),
		letters: deadletter.New(bus.JS, bus.Layout.Dead, bus.Subjects),
	}
}

// record reads an order's record, with an error for people where there is none.
func (d *desk) record(ctx context.Context, key order.Key) (order.Stored, error) {
	rec, err := d.ledger.Get(ctx, key)
	if err == nil && rec.Phase == "" {
		return rec, usage.WithHint(fmt.Errorf("order %s: the ledger does not know the order", key),
			"a request enters the ledger when a worker takes it; the ledger drops finished orders after streams.orders_max_age")
	}
	return rec, err
}

// each does something with orders, one after the other. An order for which it fails holds
// up no other; each returns the last such error, and reports the others.
func each(t *terminal.Terminal, keys []order.Key, do func(key order.Key, first bool) error) error {
	var last error
	first := true
	for _, key := range keys {
		err := do(key, first)
		if err == nil {
			first = false
			continue
		}
		if last != nil {
			t.Notef("error: %v", last)
		}
		last = err
	}
	return last
}
