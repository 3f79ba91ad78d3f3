package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/internal/deadletter"
)

func deadPurgeCommand(a *app) *cobra.Command {
	var f letterFlags
	var dryRun, yes, asJSON bool
	cmd := &cobra.Command{
		Use:   "purge [SEQ...]",
		Short: "Delete dead letters for good",
		Long: `Delete dead letters for good, after asking. Letters that arrive meanwhile stay. Only the letters go: orders,
results and the ledger are left alone.`,
		Example: `  entrust-worker dead purge 42 43
  entrust-worker dead purge --reason undecodable --older-than 30d --dry-run`,
		RunE: func(cmd *cobra.Command, args []string) error {
			filter, err := f.filter(args)
			if err != nil {
				return err
			}
			if err := f.chosen(args); err != nil {
				return err
			}
			return a.atDesk(cmd, func(ctx context.Context, d *desk) error {
				c, err := a.choose(ctx, d, filter, f.limit, true)
				if err != nil {
					return err
				}
				switch {
				case dryRun && len(c.sequences) > 0:
					return cmp.Or(a.listLetters(ctx, d, deadletter.Filter{Sequences: c.sequences}, 0, false, asJSON), c.end())
				case dryRun:
					return c.end()
				case !yes && len(c.sequences) > 0:
					if err := confirm(a.in, a.err, fmt.Sprintf("Delete %s for good?", letters(len(c.sequences)))); err != nil {
						return err
					}
				}
				n, err := a.purge(ctx, d, c)
				if err != nil {
					return fmt.Errorf("%w (%s purged before)", err, letters(n))
				}
				switch {
				case asJSON:
					err = printJSON(a.out, struct {
						Purged int `json:"purged"`
					}{n})
				case len(c.sequences) > 0:
					a.printf("purged %s\n", letters(n))
				}
				return cmp.Or(err, c.end())
			})
		},
	}
	f.add(cmd)
	f.addAll(cmd.Flags())
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "list the letters, and delete none")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// purge deletes exactly the letters that were decided about.
func (a *app) purge(ctx context.Context, d *desk, c choice) (int, error) {
	bar := newProgress(a.err, len(c.sequences), "purging")
	defer bar.end()
	purged := 0
	for part := range slices.Chunk(c.sequences, takeOut) {
		step, cancel := d.step(ctx)
		n, err := d.box().Purge(step, part...)
		cancel()
		if purged += n; err != nil {
			return purged, err
		}
		bar.add(len(part))
	}
	return purged, nil
}
