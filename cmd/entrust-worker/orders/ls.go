package orders

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/internal/order"
)

func lsCommand(t *terminal.Terminal, dial connect.Dialer) *cobra.Command {
	var (
		filter orderFilter
		limit  int
		sort   string
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List orders",
		Long: `List the orders that the ledger knows. On a terminal the first 100; --limit says otherwise.

Fields are separated by tabs where the output is no terminal; --json prints one JSON object per line.`,
		Example: `  entrust-worker orders ls --phase awaiting --sort deadline
  entrust-worker orders ls --producer web --older-than 7d --json`,
		Args: usage.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := filter.check(t.Now()); err != nil {
				return err
			}
			if _, ok := orderings()[sort]; sort != "" && !ok {
				return usage.Errorf("--sort must be age, wake-up or deadline, is %q", sort)
			}
			if limit < 0 {
				return usage.Errorf("--limit must be at least 0, is %d", limit)
			}
			if !cmd.Flags().Changed("limit") && !asJSON && terminal.Is(t.Out) {
				limit = terminal.Limit
			}
			out := t.List(asJSON, "ORDER", "KIND", "PHASE", "OUTCOME", "REPLAY", "AGE", "NEXT WAKE-UP", "POLLS", "DEADLINE", "TRACKING ID")
			out.None = "no orders"
			return dial.Work(cmd, func(ctx context.Context, bus *connect.Bus) error {
				d := newDesk(bus)
				more, err := listOrders(ctx, d, &filter, sort, limit, out)
				if err == nil && more && terminal.Is(t.Out) {
					t.Notef("there are more; --limit 0 lists all")
				}
				return err
			})
		},
	}
	filter.add(cmd.Flags())
	filter.addTimes(cmd.Flags())
	cmd.Flags().IntVar(&limit, "limit", 0, "at most this `number` of orders; 0 is all")
	cmd.Flags().StringVar(&sort, "sort", "", "`order` by age, wake-up or deadline, first those that come first")
	usage.Complete(cmd, "sort", slices.Sorted(maps.Keys(orderings()))...)
	filter.complete(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per line")
	return cmd
}

// orderings compare by what people sort by. Orders without the instant come last.
func orderings() map[string]func(a, b *view) int {
	return map[string]func(a, b *view) int{
		"age":      func(a, b *view) int { return byTime(a.RequestedAt, b.RequestedAt) },
		"wake-up":  func(a, b *view) int { return byTime(a.NextWakeup, b.NextWakeup) },
		"deadline": func(a, b *view) int { return byTime(a.Deadline, b.Deadline) },
	}
}

func byTime(a, b time.Time) int {
	switch {
	case a.IsZero() == b.IsZero():
		return a.Compare(b)
	case a.IsZero():
		return 1
	}
	return -1
}

// listOrders prints the orders that f chooses and reports whether there are more than
// limit. Unsorted ones are printed as they are read. What cannot be read is passed over;
// the first such error is returned after the rest was printed.
func listOrders(ctx context.Context, d *desk, f *orderFilter, sort string, limit int, out *terminal.Listing) (bool, error) {
	var first error
	var kept []*view
	n, more := 0, false
	for o, err := range readOrders(ctx, d, f, sort == "" && limit > 0 && limit <= fewOrders) {
		switch {
		case err != nil:
			first = cmp.Or(first, err)
			continue
		case sort != "":
			if kept = append(kept, o); limit > 0 && len(kept) >= 2*limit+terminal.Page {
				kept, more = firstOrders(kept, sort, limit), true
			}
			continue
		}
		if n++; limit > 0 && n > limit {
			more = true
			break
		}
		if err := o.list(out, f.now); err != nil {
			return false, err
		}
	}
	more = more || limit > 0 && len(kept) > limit
	for _, o := range firstOrders(kept, sort, limit) {
		if err := o.list(out, f.now); err != nil {
			return false, err
		}
	}
	return more, out.Finish(first)
}

// firstOrders sorts orders and returns the first of them, all for a limit of 0.
func firstOrders(orders []*view, by string, limit int) []*view {
	slices.SortStableFunc(orders, orderings()[by])
	if limit == 0 || len(orders) <= limit {
		return orders
	}
	clear(orders[limit:])
	return orders[:limit]
}

// readOrders yields the orders that f chooses, with their wake-ups, and what went wrong
// in between. few says that the caller stops after a few.
func readOrders(ctx context.Context, d *desk, f *orderFilter, few bool) iter.Seq2[*view, error] {
	return func(yield func(*view, error) bool) {
		waiting := f.phase == "" || order.Phase(f.phase).Waits()
		wakes, err := readWakes(ctx, d.wakeups, waiting && (!few || f.byPoll()))
		if err != nil && !yield(nil, err) {
			return
		}
		for rec, err := range d.ledger.All(ctx) {
			if err != nil {
				if !yield(nil, err) {
					return
				}
				continue
			}
			if !f.match(rec.Key, rec.Record) {
				continue
			}
			o := newView(rec.Key, rec.Stored)
			if rec.Phase.Waits() {
				w, err := wakes.of(ctx, rec.Key)
				if err != nil && !yield(nil, err) {
					return
				}
				o.NextWakeup, o.Polls = w.at, w.polls
				if f.byPoll() && (w.at.IsZero() || w.at.After(f.now.Add(time.Duration(f.pollWithin)))) {
					continue
				}
			}
			if !yield(o, nil) {
				return
			}
		}
	}
}

// list prints the order as one row.
func (o *view) list(out *terminal.Listing, now time.Time) error {
	return out.Add(o, o.Producer+"."+o.ID, string(o.Kind), string(o.Phase), string(o.Outcome), fmt.Sprint(o.Replay),
		out.When(o.RequestedAt, now), out.When(o.NextWakeup, now), o.pollsShown(), out.When(o.Deadline, now), o.TrackingID)
}
