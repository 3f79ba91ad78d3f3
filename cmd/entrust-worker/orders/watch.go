package orders

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/timeline"
)

func watchCommand(t *terminal.Terminal, dial connect.Dialer) *cobra.Command {
	var filter orderFilter
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "watch [ORDER...]",
		Short: "Print orders as they change",
		Long: `Print orders as they change. The verb prints named orders at the start too, and ends when all of them are closed.
Without names it prints every order that the flags choose, until interrupted.`,
		Example: `  entrust-worker orders watch web.4711
  entrust-worker orders watch --producer web --phase closed --json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := filter.check(t.Now()); err != nil {
				return err
			}
			keys, err := Keys(args, filter.producer)
			if err != nil {
				return err
			}
			out := t.NewTail(asJSON, []string{"TIME", "ORDER", "KIND", "PHASE", "OUTCOME", "REPLAY", "TRACKING ID", "SERIAL"}, []int{28, 6, 13, 11, 0, 0, 0})
			return dial.Work(cmd, func(ctx context.Context, bus *connect.Bus) error {
				return watch(ctx, t, newDesk(bus), &filter, keys, out)
			}, connect.Staying(t.Err)...)
		},
	}
	filter.add(cmd.Flags())
	filter.complete(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per line")
	return cmd
}

// watch prints changes until the named orders are closed, or ctx ends.
func watch(ctx context.Context, t *terminal.Terminal, d *desk, f *orderFilter, keys []order.Key, out *terminal.Tail) error {
	kv, err := d.JS.KeyValue(ctx, d.Layout.Orders)
	if err != nil {
		return fmt.Errorf("opening the ledger %s: %w", d.Layout.Orders, err)
	}
	filters, opts := []string{}, []jetstream.WatchOpt{jetstream.IgnoreDeletes()}
	open, known := map[order.Key]bool{}, map[order.Key]bool{}
	for _, key := range keys {
		filters, open[key] = append(filters, key.String()), true
	}
	switch {
	case len(keys) > 0:
	case f.producer != "":
		filters, opts = []string{f.producer + ".*"}, append(opts, jetstream.UpdatesOnly())
	default:
		filters, opts = []string{">"}, append(opts, jetstream.UpdatesOnly())
	}
	w, err := kv.WatchFiltered(ctx, filters, opts...)
	if err != nil {
		return fmt.Errorf("watching the ledger %s: %w", d.Layout.Orders, err)
	}
	defer w.Stop()
	for {
		var e jetstream.KeyValueEntry
		var on bool
		select {
		case <-ctx.Done():
		case e, on = <-w.Updates():
		}
		// The end of the context ends the watcher too, which may be seen first.
		if ctx.Err() != nil {
			if len(keys) == 0 {
				return nil // there was no other end
			}
			return context.Cause(ctx)
		}
		if !on {
			return fmt.Errorf("watching the ledger %s: the watch ended", d.Layout.Orders)
		}
		if e == nil { // all that was there has been sent
			for _, key := range keys {
				if open[key] && !known[key] {
					t.Notef("order %s is not in the ledger yet; waiting", key)
				}
			}
			continue
		}
		key, err := order.ParseKey(e.Key())
		if err != nil {
			continue // no key of the ledger
		}
		rec := order.Stored{Revision: e.Revision(), At: e.Created().UTC()}
		if rec.Record, err = order.Decode(e.Value()); err != nil {
			return fmt.Errorf("reading order %s: %w", key, err)
		}
		known[key] = true
		if o := timeline.FactsOf(key, rec, t.Now()); f.query.Match(o) {
			if err := printChange(o, out); err != nil {
				return err
			}
		}
		if open[key] && rec.Phase == order.Closed {
			if delete(open, key); len(open) == 0 {
				return nil
			}
		}
	}
}

// printChange prints what became of an order.
func printChange(o *timeline.Facts, out *terminal.Tail) error {
	return out.Add(o, o.Updated, o.Key().String(), string(o.Kind), string(o.Phase), string(o.Outcome), fmt.Sprint(o.Replay), o.TrackingID, o.Serial)
}
