package audit

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/internal/audit"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// filter chooses records. A zero field chooses all.
type filter struct {
	producer, id, serial, decision, operator, key, policy string
	newerThan                                             usage.Span
}

func (f *filter) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.producer, "producer", "", "only records of this `producer`")
	flags.StringVar(&f.id, "id", "", "only records of orders with this `id`")
	flags.StringVar(&f.serial, "serial", "", "only records about the certificate with this `serial`, lower-case hexadecimal")
	flags.StringVar(&f.decision, "decision", "", "only records with this `decision`, such as issued, revoked, denied or replayed")
	flags.StringVar(&f.operator, "operator", "", "only records of this `operator`")
	flags.StringVar(&f.key, "key-id", "", "only records of requests that were signed with this `key`")
	flags.StringVar(&f.policy, "policy", "", "only records of decisions under this `policy`, named as in the log")
	flags.Var(&f.newerThan, "newer-than", "only records stored within this `time`, such as 12h or 7d")
}

func (f *filter) match(r *audit.Record) bool {
	fits := func(want, got string) bool { return want == "" || want == got }
	return fits(f.producer, r.Producer) && fits(f.id, r.Order) && fits(f.serial, r.Serial) && fits(f.decision, r.Decision) &&
		fits(f.operator, r.Operator) && fits(f.key, r.KeyID) && fits(f.policy, r.Policy)
}

func grepCommand(t *terminal.Terminal, dial connect.Dialer) *cobra.Command {
	var f filter
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "grep",
		Short: "List records by producer, order, serial, decision or operator",
		Long: `List the records that match every flag, oldest first. The exit code is 1 if there are none. The verb does not check
the trail: entrust-worker audit verify does.`,
		Example: `  entrust-worker audit grep --serial 5f3a
  entrust-worker audit grep --producer shop --decision denied --newer-than 7d --json`,
		Args: usage.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return dial.Work(cmd, func(ctx context.Context, bus *connect.Bus) error {
				from, err := f.from(ctx, bus, t.Now())
				if err != nil {
					return err
				}
				out, found := list(t, asJSON), 0
				for m, err := range audit.Read(ctx, bus.JS, bus.Layout.Audit, from) {
					if err != nil {
						return out.Finish(err)
					}
					r, err := audit.Decode(m.Body)
					if err != nil {
						t.Notef("warning: message %d: %v; skipped", m.Sequence, err)
						continue
					}
					if f.match(r) {
						found++
						if err := out.add(m, r); err != nil {
							return err
						}
					}
				}
				if found == 0 {
					t.Notef("no records")
					return usage.Code(usage.Failed)
				}
				return out.End()
			})
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per line")
	return cmd
}

// from is the sequence to begin at.
func (f *filter) from(ctx context.Context, bus *connect.Bus, now time.Time) (uint64, error) {
	info, err := open(ctx, bus)
	if err != nil || f.newerThan == 0 {
		return 1, err
	}
	step, cancel := bus.Step(ctx)
	defer cancel()
	m, err := streams.FirstSince(step, bus.JS, bus.Layout.Audit, now.Add(-time.Duration(f.newerThan)))
	if errors.Is(err, streams.ErrNoMessage) {
		return info.State.LastSeq + 1, nil
	}
	if err != nil {
		return 0, err
	}
	return m.Sequence, nil
}
