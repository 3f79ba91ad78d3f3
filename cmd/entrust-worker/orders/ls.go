package orders

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/internal/find"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/timeline"
)

// searchTime is how long a search takes that a person waits for. Reading 700,000 orders takes
// some seconds, and what is found in a moment is found by an index.
const searchTime = 600 * time.Millisecond

func lsCommand(t *terminal.Terminal, dial connect.Dialer) *cobra.Command {
	var (
		filter orderFilter
		format terminal.Format
		limit  int
		sort   string
		within usage.Span
	)
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List orders, or find some",
		Long: `List the orders in the ledger, last changed first. On a terminal the verb lists the first 100; --limit changes that.

On a terminal a search ends after 0.6 s, so it may miss old orders among very many. It always finds orders with a dead
letter, orders that wait, and a certificate by its serial number. The verb prints how far it looked; --search-time 0
looks at every order. Without a terminal the verb looks at every order.

A table leaves columns out until it fits the terminal; --wide shows them all. Without a terminal, tabs separate the
fields.`,
		Example: `  entrust-worker orders ls --trouble
  entrust-worker orders ls --name www.example.com
  entrust-worker orders ls --phase awaiting --sort deadline
  entrust-worker orders ls --producer web --older-than 7d --format csv`,
		Args: usage.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cmp.Or(filter.check(t.Now()), format.Check()); err != nil {
				return err
			}
			if _, ok := orderings()[sort]; sort != "" && !ok {
				return usage.Errorf("--sort must be age, wake-up or deadline, is %q", sort)
			}
			if limit < 0 {
				return usage.Errorf("--limit must be at least 0, is %d", limit)
			}
			people := format.ForPeople(t)
			if !cmd.Flags().Changed("limit") && people {
				limit = terminal.Limit
			}
			if !cmd.Flags().Changed("search-time") && people {
				within = usage.Span(searchTime)
			}
			out := t.Layout(format, columns()...)
			out.None = "no orders"
			return dial.Work(cmd, func(ctx context.Context, bus *connect.Bus) error {
				l := lister{newDesk(bus), t, &filter, out}
				if sort == "" && (filter.searches() || within > 0) {
					return l.search(ctx, limit, time.Duration(within))
				}
				more, err := l.list(ctx, sort, limit)
				if err == nil && more && people {
					t.Notef("there are more; --limit 0 lists all")
				}
				return err
			})
		},
	}
	filter.add(cmd.Flags())
	filter.addSearch(cmd.Flags())
	cmd.Flags().IntVar(&limit, "limit", 0, "at most this `number` of orders; 0 is all")
	cmd.Flags().StringVar(&sort, "sort", "", "sort by this `field`: age, wake-up or deadline; the earliest first")
	cmd.Flags().Var(&within, "search-time", "stop looking after this time; 0 looks at every order")
	format.Add(cmd)
	usage.Complete(cmd, "sort", slices.Sorted(maps.Keys(orderings()))...)
	filter.complete(cmd)
	return cmd
}

// columns are those of a list of orders. Programs read them by their place: a new one comes last.
func columns() []terminal.Column {
	return []terminal.Column{
		{Name: "ORDER"}, {Name: "KIND", Rank: 3}, {Name: "PHASE"}, {Name: "OUTCOME"}, {Name: "REPLAY", Rank: 7}, {Name: "AGE"},
		{Name: "NEXT WAKE-UP", Rank: 2}, {Name: "POLLS", Rank: 6}, {Name: "DEADLINE", Rank: 5}, {Name: "TRACKING ID", Rank: 8},
		{Name: "SERIAL", Rank: 9}, {Name: "TROUBLE", Rank: 4}, {Name: "NAMES", Rank: 1},
	}
}

// orderings compare by what people sort by. Orders without the instant come last.
func orderings() map[string]func(a, b *timeline.Facts) int {
	return map[string]func(a, b *timeline.Facts) int{
		"age":      func(a, b *timeline.Facts) int { return byTime(a.Requested, b.Requested) },
		"wake-up":  func(a, b *timeline.Facts) int { return byTime(a.NextWakeup, b.NextWakeup) },
		"deadline": func(a, b *timeline.Facts) int { return byTime(a.Deadline, b.Deadline) },
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

// lister lists the orders that a filter chooses.
type lister struct {
	*desk
	terminal *terminal.Terminal
	filter   *orderFilter
	out      *terminal.Listing
}

// search prints the orders that are found in a time, and says how far it looked.
func (l *lister) search(ctx context.Context, limit int, within time.Duration) error {
	found, err := find.New(l.JS, l.Layout, l.terminal.Now).Newest(ctx, l.filter.query, limit, within)
	for _, o := range found.Orders {
		if err := l.add(o); err != nil {
			return err
		}
	}
	if err := l.out.Finish(err); err != nil {
		return err
	}
	switch {
	case found.More:
		l.terminal.Notef("there are more; --limit 0 lists all")
	case !found.Since.IsZero():
		l.terminal.Notef("the search did not look at every order that last changed before %s; --search-time 0 does", found.Since.UTC().Format(time.RFC3339))
	}
	return nil
}

// list prints every order of the ledger that the filter chooses, and reports whether there are
// more than limit. Unsorted ones are printed as they are read. What cannot be read is passed
// over; the first such error is returned after the rest was printed.
func (l *lister) list(ctx context.Context, sort string, limit int) (bool, error) {
	var first error
	var kept []*timeline.Facts
	n, more := 0, false
	for o, err := range l.read(ctx, sort == "" && limit > 0 && limit <= fewOrders) {
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
		if err := l.add(o); err != nil {
			return false, err
		}
	}
	more = more || limit > 0 && len(kept) > limit
	for _, o := range firstOrders(kept, sort, limit) {
		if err := l.add(o); err != nil {
			return false, err
		}
	}
	return more, l.out.Finish(first)
}

// firstOrders sorts orders and returns the first of them, all for a limit of 0.
func firstOrders(orders []*timeline.Facts, by string, limit int) []*timeline.Facts {
	if len(orders) == 0 {
		return nil
	}
	slices.SortStableFunc(orders, orderings()[by])
	if limit == 0 || len(orders) <= limit {
		return orders
	}
	clear(orders[limit:])
	return orders[:limit]
}

// read yields the orders that the filter chooses, with their wake-ups, and what went wrong in
// between. few says that the caller stops after a few.
func (l *lister) read(ctx context.Context, few bool) iter.Seq2[*timeline.Facts, error] {
	q := l.filter.query
	return func(yield func(*timeline.Facts, error) bool) {
		waiting := len(q.Phases) == 0 || slices.ContainsFunc(q.Phases, order.Phase.Waits)
		wakes, err := readWakes(ctx, l.wakeups, waiting && (!few || !q.WakeupBefore.IsZero()))
		if err != nil && !yield(nil, err) {
			return
		}
		for o, err := range find.New(l.JS, l.Layout, l.terminal.Now).All(ctx, q) {
			if err != nil {
				if !yield(nil, err) {
					return
				}
				continue
			}
			if o.Phase.Waits() {
				w, err := wakes.of(ctx, o.Key())
				if err != nil && !yield(nil, err) {
					return
				}
				o.NextWakeup, o.Polls = w.at, w.polls
				if !q.WakeupBefore.IsZero() && (w.at.IsZero() || w.at.After(q.WakeupBefore)) {
					continue
				}
			}
			if !yield(o, nil) {
				return
			}
		}
	}
}

// add prints an order as one row.
func (l *lister) add(o *timeline.Facts) error {
	now := l.filter.now
	return l.out.Add(o, o.Key().String(), string(o.Kind), string(o.Phase), string(o.Outcome), fmt.Sprint(o.Replay),
		l.out.When(o.Requested, now), l.out.When(o.NextWakeup, now), pollsShown(o), l.out.When(o.Deadline, now), o.TrackingID,
		o.Serial, o.Trouble, strings.ReplaceAll(strings.Join(o.Names, " "), "dns:", ""))
}

// pollsShown is how often an order was polled, "" where that is not known: the wake-up counts
// it and goes with the wait, and the result has it.
func pollsShown(o *timeline.Facts) string {
	if o.Phase != order.Awaiting && o.Polls == 0 {
		return ""
	}
	return fmt.Sprint(o.Polls)
}
