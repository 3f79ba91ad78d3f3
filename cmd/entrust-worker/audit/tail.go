package audit

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/internal/audit"
)

// followEvery is the pause between two looks for new records.
const followEvery = time.Second

func tailCommand(t *terminal.Terminal, dial connect.Dialer) *cobra.Command {
	var n int
	var follow, asJSON bool
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Show the last records; --follow shows new ones too",
		Example: `  entrust-worker audit tail -n 50
  entrust-worker audit tail --follow --json`,
		Args: usage.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if n < 0 {
				return usage.Errorf("--lines must be at least 0, is %d", n)
			}
			work := func(ctx context.Context, bus *connect.Bus) error {
				info, err := open(ctx, bus)
				if err != nil {
					return err
				}
				next := info.State.LastSeq + 1 - min(uint64(n), info.State.LastSeq)
				out := list(t, asJSON)
				for {
					for m, err := range audit.Read(ctx, bus.JS, bus.Layout.Audit, next) {
						if err != nil {
							return out.Finish(err)
						}
						next = m.Sequence + 1
						r, err := audit.Decode(m.Body)
						if err != nil {
							t.Notef("warning: message %d: %v; skipped", m.Sequence, err)
							continue
						}
						if err := out.add(m, r); err != nil {
							return err
						}
					}
					if err := out.End(); err != nil || !follow {
						return err
					}
					select {
					case <-ctx.Done():
						return nil
					case <-time.After(followEvery):
					}
				}
			}
			if follow {
				return dial.Work(cmd, work, connect.Staying(t.Err)...)
			}
			return dial.Work(cmd, work)
		},
	}
	cmd.Flags().IntVarP(&n, "lines", "n", 20, "show this `number` of the last records")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "show new records too, until interrupted")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per line")
	return cmd
}
