package orders

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/timeline"
)

func pollCommand(t *terminal.Terminal, dial connect.Dialer) *cobra.Command {
	var producer string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "poll ORDER...",
		Short: "Have a worker poll a waiting order now",
		Long: `Have a worker poll a waiting order now instead of at its next wake-up. The poll counts, and changes neither the
deadline nor the waits between later polls. A worker tries an unaccepted order again, and looks up an
indeterminate order. A look-up that is too early to prove anything still waits. The verb does not wait for the poll: orders watch
shows the outcome.`,
		Example: `  entrust-worker orders poll web.4711
  entrust-worker orders poll --producer web 4711 4712`,
		Args: usage.AtLeastOne("ORDER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			keys, err := Keys(args, producer)
			if err != nil {
				return err
			}
			return dial.Work(cmd, func(ctx context.Context, bus *connect.Bus) error {
				d := newDesk(bus)
				out := t.List(asJSON, "ORDER", "TRACKING ID", "POLLS", "DEADLINE")
				err := each(t, keys, func(key order.Key, _ bool) error {
					o, err := d.pollNow(ctx, key, t.Now())
					if err != nil {
						return err
					}
					return out.Add(o, key.String(), o.TrackingID, fmt.Sprint(o.Polls), out.When(o.Deadline, t.Now()))
				})
				return out.Finish(err)
			})
		},
	}
	cmd.Flags().StringVar(&producer, "producer", "", "`producer` of orders that are named by their id alone")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per line")
	return cmd
}

// nextStep is the hint for a closed order: the gateway may still issue one that ended without a
// certificate and has a tracking id.
func nextStep(key order.Key, rec order.Record) string {
	switch rec.Outcome {
	case entrustbus.OutcomeExpired, entrustbus.OutcomeUnconfirmed, entrustbus.OutcomeCancelled:
		if rec.TrackingID != "" {
			return fmt.Sprintf("entrust-worker request track %s waits for it again", terminal.Plain(rec.TrackingID))
		}
	}
	return fmt.Sprintf("entrust-worker orders show %s shows its result", key)
}

// pollNow moves the wake-up of a waiting order to now. Like every
// schedule it overwrites the old one unconditionally: if the old one fires at that moment,
// there is one due message, and at worst one poll more.
func (d *desk) pollNow(ctx context.Context, key order.Key, now time.Time) (*timeline.Facts, error) {
	ctx, cancel := d.Step(ctx)
	defer cancel()
	rec, err := d.record(ctx, key)
	if err != nil {
		return nil, err
	}
	switch {
	case rec.Phase == order.Closed:
		return nil, usage.WithHint(fmt.Errorf("order %s is closed as %s", key, rec.Outcome), "%s", nextStep(key, rec.Record))
	case !rec.Phase.Waits():
		return nil, usage.WithHint(fmt.Errorf("order %s is %s, and does not wait", key, rec.Phase), "a worker handles it now; entrust-worker orders watch %s shows how it goes on", key)
	}
	w, _, err := d.wakeups.Find(ctx, key)
	if err != nil {
		return nil, err
	}
	if w == nil {
		// It fired, or was lost; the ledger knows enough to schedule another.
		w = order.WakeupOf(key, rec.Record, now)
	}
	w.Due = now.UTC()
	if err := d.wakeups.Schedule(ctx, w); err != nil {
		return nil, err
	}
	o := timeline.FactsOf(key, rec, now)
	o.NextWakeup, o.Polls = w.Due, w.Polls
	return o, nil
}
