package orders

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/internal/order"
)

func showCommand(t *terminal.Terminal, dial connect.Dialer) *cobra.Command {
	var producer string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show ORDER...",
		Short: "Show one order, or several",
		Example: `  entrust-worker orders show web.4711
  entrust-worker orders show web.4711 --json`,
		Args: usage.AtLeastOne("ORDER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			keys, err := Keys(args, producer)
			if err != nil {
				return err
			}
			return dial.Work(cmd, func(ctx context.Context, bus *connect.Bus) error {
				d := newDesk(bus)
				return each(t, keys, func(key order.Key, first bool) error {
					o, err := d.view(ctx, key)
					switch {
					case err != nil:
						return err
					case asJSON:
						return terminal.PrintJSON(t.Out, o)
					case !first:
						t.Printf("\n")
					}
					return terminal.PrintFields(t.Out, o.fields(t.Now()))
				})
			})
		},
	}
	cmd.Flags().StringVar(&producer, "producer", "", "`producer` of orders that are named by their id alone")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per line")
	return cmd
}

// pollsShown is how often an order was polled, "" where that is not known: the wake-up counts
// it, and goes with the wait.
func (o *view) pollsShown() string {
	if o.Phase != order.Awaiting {
		return ""
	}
	return fmt.Sprint(o.Polls)
}

// order reads an order with its wake-up.
func (d *desk) view(ctx context.Context, key order.Key) (*view, error) {
	ctx, cancel := d.Step(ctx)
	defer cancel()
	rec, err := d.record(ctx, key)
	if err != nil {
		return nil, err
	}
	o := newView(key, rec)
	if rec.Phase.Waits() {
		w, _, err := d.wakeups.Find(ctx, key)
		if err != nil {
			return nil, err
		}
		if w != nil {
			o.NextWakeup, o.Polls = w.Due, w.Polls
		}
	}
	return o, nil
}

// fields are what people are shown of an order.
func (o *view) fields(now time.Time) []terminal.Field {
	instant := func(t time.Time) string {
		switch {
		case t.IsZero():
			return ""
		case t.After(now):
			return t.UTC().Format(time.RFC3339) + " (in " + terminal.Span(t.Sub(now)) + ")"
		}
		return t.UTC().Format(time.RFC3339) + " (" + terminal.Span(now.Sub(t)) + " ago)"
	}
	all := []terminal.Field{
		{"order", o.Producer + "." + o.ID},
		{"kind", string(o.Kind)},
		{"phase", string(o.Phase)},
		{"outcome", string(o.Outcome)},
		{"requested", instant(o.RequestedAt)},
		{"submitted", instant(o.SubmittedAt)},
		{"updated", instant(o.UpdatedAt)},
		{"deadline", instant(o.Deadline)},
		{"next wake-up", instant(o.NextWakeup)},
		{"polls", o.pollsShown()},
		{"tracking id", o.TrackingID},
		{"ca", o.CAID},
		{"profile", o.ProfileID},
		{"serial", o.Serial},
		{"submissions", fmt.Sprint(o.Submissions)},
		{"policy", o.Policy},
		{"cause", o.Cause},
		{"owner", o.Owner},
		{"lease until", instant(o.LeaseUntil)},
		{"note", o.meaning()},
	}
	if o.Replay > 0 {
		all = append(all, terminal.Field{"replay", fmt.Sprint(o.Replay)})
	}
	if o.PossibleDuplicate {
		all = append(all, terminal.Field{"note", "the gateway may hold a second order"})
	}
	return all
}
