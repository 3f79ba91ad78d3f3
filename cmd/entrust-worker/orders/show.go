package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/internal/ledger"
)

func ordersShowCommand(a *app) *cobra.Command {
	var producer string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show ORDER...",
		Short: "Show one order, or several",
		Args:  atLeastOne("ORDER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			keys, err := orderKeys(args, producer)
			if err != nil {
				return err
			}
			return a.atDesk(cmd, func(ctx context.Context, d *desk) error {
				return a.each(keys, func(key ledger.Key, first bool) error {
					o, err := d.order(ctx, key)
					switch {
					case err != nil:
						return err
					case asJSON:
						return printJSON(a.out, o)
					case !first:
						a.printf("\n")
					}
					return printFields(a.out, o.fields(time.Now()))
				})
			})
		},
	}
	cmd.Flags().StringVar(&producer, "producer", "", "`producer` of orders that are named by their id alone")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per line")
	return cmd
}

// each does something with orders, one after the other. One for which it cannot be done
// holds up no other; the last such error is returned, the others are told.
func (a *app) each(keys []ledger.Key, do func(key ledger.Key, first bool) error) error {
	var last error
	first := true
	for _, key := range keys {
		err := do(key, first)
		if err == nil {
			first = false
			continue
		}
		if last != nil {
			fmt.Fprintf(a.err, "error: %v\n", last)
		}
		last = err
	}
	return last
}

// pollsShown is how often an order was polled, "" where that is not known: the slot counts
// it, and goes with the wait.
func (o *order) pollsShown() string {
	if o.State != ledger.Parked {
		return ""
	}
	return fmt.Sprint(o.Polls)
}

// atLeastOne is cobra.MinimumNArgs as a usage error.
func atLeastOne(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return withHint(usagef("%s: no %s given", cmd.CommandPath(), what), "%s --help", cmd.CommandPath())
		}
		return nil
	}
}

// record reads an order's record, with an error for people where there is none.
func (d *desk) record(ctx context.Context, key ledger.Key) (*ledger.Record, error) {
	rec, err := d.ledger.Get(ctx, key)
	if errors.Is(err, ledger.ErrNoRecord) {
		return nil, withHint(fmt.Errorf("order %s: %w", key, err),
			"a request that no worker has taken yet is not in the ledger, and finished orders leave it after a while")
	}
	return rec, err
}

// order reads an order with its wake-up.
func (d *desk) order(ctx context.Context, key ledger.Key) (*order, error) {
	ctx, cancel := d.step(ctx)
	defer cancel()
	rec, err := d.record(ctx, key)
	if err != nil {
		return nil, err
	}
	o := newOrder(rec)
	if rec.State == ledger.Parked {
		s, err := d.lot.Slot(ctx, key)
		if err != nil {
			return nil, err
		}
		if s != nil {
			o.NextPoll, o.Polls = s.Due, s.Attempt
		}
	}
	return o, nil
}

// field is one line of what is shown of something.
type field struct{ name, value string }

// fields are what people are shown of an order.
func (o *order) fields(now time.Time) []field {
	instant := func(t time.Time) string {
		switch {
		case t.IsZero():
			return ""
		case t.After(now):
			return t.UTC().Format(time.RFC3339) + " (in " + span(t.Sub(now)) + ")"
		}
		return t.UTC().Format(time.RFC3339) + " (" + span(now.Sub(t)) + " ago)"
	}
	all := []field{
		{"order", o.Producer + "." + o.ID},
		{"kind", string(o.Kind)},
		{"state", string(o.State)},
		{"outcome", string(o.Outcome)},
		{"requested", instant(o.RequestedAt)},
		{"submitted", instant(o.SubmittedAt)},
		{"updated", instant(o.UpdatedAt)},
		{"deadline", instant(o.Deadline)},
		{"next poll", instant(o.NextPoll)},
		{"polls", o.pollsShown()},
		{"tracking id", o.TrackingID},
		{"ca", o.CAID},
		{"serial", o.Serial},
		{"submissions", fmt.Sprint(o.Submissions)},
		{"worker", o.Worker},
		{"lease", instant(o.Lease)},
	}
	if o.State == ledger.Parked && o.NextPoll.IsZero() {
		all = append(all, field{"note", "due now, or without a slot until the watchdog arms one"})
	}
	if o.State == ledger.Parked && o.TrackingID == "" {
		note := "set aside: the gateway did not take it, and is asked again"
		if o.Posting {
			note = "set aside: the answer was lost, and is looked up"
		}
		all = append(all, field{"note", note})
	}
	if o.Replay > 0 {
		all = append(all, field{"replay", fmt.Sprint(o.Replay)})
	}
	if o.PossibleDuplicate {
		all = append(all, field{"note", "the gateway may hold a second order"})
	}
	if o.Posting && o.State == ledger.Open {
		all = append(all, field{"note", "a submission is under way, or its answer was not seen"})
	}
	return all
}

// printFields writes names and values in two columns. Empty values are left out.
func printFields(w io.Writer, all []field) error {
	width := 0
	for _, f := range all {
		if f.value != "" {
			width = max(width, len(f.name))
		}
	}
	var b strings.Builder
	for _, f := range all {
		if f.value != "" {
			fmt.Fprintf(&b, "%-*s  %s\n", width, f.name, plain(f.value))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
