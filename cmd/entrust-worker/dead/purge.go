package dead

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
)

func purgeCommand(t *terminal.Terminal, dial connect.Dialer) *cobra.Command {
	var f letterFlags
	var dryRun, yes, asJSON bool
	cmd := &cobra.Command{
		Use:   "purge [SEQ|ORDER...]",
		Short: "Delete dead letters for good",
		Long: `Delete dead letters for good. The verb asks first, unless --yes. It keeps dead letters that arrive meanwhile, and
does not change orders, results and the ledger.`,
		Example: `  entrust-worker dead purge 42 43
  entrust-worker dead purge --reason undecodable --older-than 30d --dry-run`,
		RunE: func(cmd *cobra.Command, args []string) error {
			filter, err := f.filter(args, t.Now())
			if err != nil {
				return err
			}
			if err := f.chosen(args); err != nil {
				return err
			}
			return dial.Work(cmd, func(ctx context.Context, bus *connect.Bus) error {
				c, err := choose(ctx, t, bus, filter, f.orders, f.limit, true)
				if err != nil {
					return err
				}
				switch {
				case dryRun && len(c.sequences) > 0:
					return cmp.Or(list(ctx, t, bus, deadletter.Filter{Sequences: c.sequences}, 0, false, asJSON), c.end())
				case dryRun:
					return c.end()
				case !yes && len(c.sequences) > 0:
					if err := t.Confirm(fmt.Sprintf("Delete %s for good?", letters(len(c.sequences)))); err != nil {
						return err
					}
				}
				n, err := purge(ctx, t, bus, c)
				if err != nil {
					return fmt.Errorf("%w (%s purged before)", err, letters(n))
				}
				switch {
				case asJSON:
					err = terminal.PrintJSON(t.Out, struct {
						Purged int `json:"purged"`
					}{n})
				case len(c.sequences) > 0:
					t.Printf("purged %s\n", letters(n))
				}
				return cmp.Or(err, c.end())
			})
		},
	}
	f.add(cmd)
	f.addAll(cmd.Flags())
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "list the dead letters, and delete none")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// purge deletes exactly the letters that were decided about.
func purge(ctx context.Context, t *terminal.Terminal, bus *connect.Bus, c choice) (int, error) {
	bar := t.Progress(len(c.sequences), "purging")
	defer bar.End()
	purged := 0
	for part := range slices.Chunk(c.sequences, takeOut) {
		step, cancel := bus.Step(ctx)
		n, err := box(bus).Purge(step, part...)
		cancel()
		if purged += n; err != nil {
			return purged, err
		}
		bar.Add(len(part))
	}
	return purged, nil
}
