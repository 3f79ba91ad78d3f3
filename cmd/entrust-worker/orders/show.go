package orders

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/timeline"
)

func showCommand(t *terminal.Terminal, dial connect.Dialer) *cobra.Command {
	var producer string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show ORDER...",
		Short: "Show orders and what happened to them",
		Long: `Show an order: its names, its result, why it waits, and a timeline of what happened to it. The verb reads the request
while it is in its stream, the ledger, the wake-up, the results, the dead letters, and the audit trail if there is one.
The ledger keeps only the last state: of tries that failed, the verb shows the last one and their number.`,
		Example: `  entrust-worker orders show web.4711
  entrust-worker orders show web.4711 --json`,
		Args: usage.AtLeastOne("ORDER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			keys, err := Keys(args, producer)
			if err != nil {
				return err
			}
			return dial.Work(cmd, func(ctx context.Context, bus *connect.Bus) error {
				reader := timeline.New(timeline.Config{
					JS: bus.JS, Layout: bus.Layout, Now: t.Now, Obstacles: timeline.Fleet(bus.JS, bus.Layout.Control),
				})
				return each(t, keys, func(key order.Key, first bool) error {
					ctx, cancel := bus.Step(ctx)
					defer cancel()
					s, err := reader.Read(ctx, key)
					switch {
					case errors.Is(err, timeline.ErrUnknown):
						return usage.WithHint(err, "NATS keeps closed orders for streams.orders_max_age; entrust-worker dead show %s shows the dead letter of the order, if it has one", key)
					case err != nil:
						return err
					case asJSON:
						return terminal.PrintJSON(t.Out, s)
					case !first:
						t.Printf("\n")
					}
					return printStory(t.Out, s, t.Now())
				})
			})
		},
	}
	cmd.Flags().StringVar(&producer, "producer", "", "`producer` of orders that are named by their id alone")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per line")
	return cmd
}

// printStory prints an order for people: its facts, and what happened to it.
func printStory(w io.Writer, s *timeline.Story, now time.Time) error {
	if err := terminal.PrintFields(w, fields(&s.Facts, now)); err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString("\ntimeline\n")
	for _, e := range s.Entries {
		what := string(e.What)
		if e.Source == timeline.FromAudit {
			what += " (audit)"
		}
		line := fmt.Sprintf("  %s  %-12s  %s", e.Time.UTC().Format(time.RFC3339), what, terminal.Plain(e.Detail))
		b.WriteString(strings.TrimRight(terminal.Plain(line), " ") + "\n")
	}
	for _, n := range s.Notes {
		b.WriteString("  note: " + terminal.Plain(n) + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// fields are what people are shown of an order.
func fields(o *timeline.Facts, now time.Time) []terminal.Field {
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
		{"order", o.Key().String()},
		{"kind", string(o.Kind)},
		{"phase", string(o.Phase)},
		{"outcome", string(o.Outcome)},
		{"waits", o.Waits},
		{"trouble", o.Trouble},
		{"names", strings.Join(o.Names, ", ")},
		{"subject", o.Subject},
		{"requested", instant(o.Requested)},
		{"submitted", instant(o.Submitted)},
		{"updated", instant(o.Updated)},
		{"deadline", instant(o.Deadline)},
		{"next wake-up", instant(o.NextWakeup)},
		{"polls", pollsShown(o)},
		{"tracking id", o.TrackingID},
		{"ca", o.CAID},
		{"profile", o.ProfileID},
		{"serial", o.Serial},
		{"asked validity", o.Validity},
		{"valid from", instant(o.NotBefore)},
		{"valid until", instant(o.NotAfter)},
		{"submissions", fmt.Sprint(o.Submissions)},
		{"policy", o.Policy},
		{"cause", o.Cause},
		{"owner", o.Owner},
		{"lease until", instant(o.LeaseUntil)},
	}
	if e := o.Error; e != nil {
		all = append(all, terminal.Field{"error", e.Error()}, terminal.Field{"error code", e.Code})
	}
	if o.Replay > 0 {
		all = append(all, terminal.Field{"replay", fmt.Sprint(o.Replay)})
	}
	if o.PossibleDuplicate {
		all = append(all, terminal.Field{"note", "the gateway may hold a second order"})
	}
	for _, w := range o.Warnings {
		all = append(all, terminal.Field{"warning", w})
	}
	for _, name := range slices.Sorted(maps.Keys(o.Labels)) {
		all = append(all, terminal.Field{"label", name + "=" + o.Labels[name]})
	}
	return all
}
