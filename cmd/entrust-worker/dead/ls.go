package dead

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/order"
)

func lsCommand(t *terminal.Terminal, dial connect.Dialer) *cobra.Command {
	var f letterFlags
	var asJSON, summary, newest bool
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List dead letters, oldest first",
		Long: `List dead letters, oldest first. On a terminal the verb lists the first 100; --limit changes that.

Without a terminal, tabs separate the fields; --json prints one JSON object per line.`,
		Example: `  entrust-worker dead ls --summary
  entrust-worker dead ls --reason expired --producer web --older-than 1d`,
		Args: usage.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, err := f.filter(nil, t.Now())
			if err != nil {
				return err
			}
			if summary && (newest || usage.AnyChanged(cmd.Flags(), "reason", "producer", "kind", "id", "older-than", "newer-than", "limit")) {
				return usage.Errorf("--summary counts all dead letters: leave out the flags that choose some")
			}
			if !cmd.Flags().Changed("limit") && !asJSON && terminal.Is(t.Out) {
				f.limit = terminal.Limit
			}
			return dial.Work(cmd, func(ctx context.Context, bus *connect.Bus) error {
				if summary {
					return summarise(ctx, t, bus, asJSON)
				}
				return list(ctx, t, bus, filter, f.limit, newest, asJSON)
			})
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&newest, "newest", false, "with --limit, list the newest dead letters instead of the oldest")
	cmd.Flags().BoolVar(&summary, "summary", false, "count dead letters by reason, with the age of the oldest")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per line")
	return cmd
}

// list prints dead letters. It passes over those that it cannot read, and returns the
// first such error after the rest was printed.
func list(ctx context.Context, t *terminal.Terminal, bus *connect.Bus, filter deadletter.Filter, limit int, newest, asJSON bool) error {
	out := t.List(asJSON, "SEQ", "DIED", "REASON", "ORDER", "KIND", "REPLAY", "DEATHS", "ERROR")
	out.None = "no dead letters"
	now := t.Now()
	show := func(l *deadletter.Letter) error {
		v := newLetter(l)
		return out.Add(v, fmt.Sprint(v.Sequence), out.When(v.Time, now), string(v.Reason), v.order(), string(v.Kind),
			fmt.Sprint(v.Replay), fmt.Sprint(v.Deaths), v.Error)
	}
	var first error
	var last []*deadletter.Letter // with newest, the last limit letters
	n, more := 0, false
	for l, err := range box(bus).List(ctx, filter) {
		if err != nil {
			if first == nil {
				first = err
			}
			continue
		}
		if newest && limit > 0 {
			l.Request.Body = make([]byte, 0) // many may be held
			if last = append(last, l); len(last) > limit {
				last, more = last[1:], true
			}
			continue
		}
		if n++; limit > 0 && n > limit {
			more = true
			break
		}
		if err := show(l); err != nil {
			return err
		}
	}
	for _, l := range last {
		if err := show(l); err != nil {
			return err
		}
	}
	err := out.Finish(first)
	if more && terminal.Is(t.Out) {
		t.Notef("there are more; --limit 0 lists all")
	}
	return err
}

// depth is what the summary shows of one reason.
type depth struct {
	Reason order.Reason `json:"reason"`
	Count  uint64       `json:"letters"`
	Oldest time.Time    `json:"oldest,omitzero"`
	Age    float64      `json:"oldest_age_seconds"`
}

// summarise prints how many letters there are of each reason.
func summarise(ctx context.Context, t *terminal.Terminal, bus *connect.Bus, asJSON bool) error {
	ctx, cancel := bus.Step(ctx)
	defer cancel()
	depths, err := box(bus).Depths(ctx)
	if err != nil {
		return err
	}
	now := t.Now()
	out := t.List(asJSON, "REASON", "LETTERS", "OLDEST")
	for _, r := range depths {
		v := depth{Reason: r.Reason, Count: r.Letters, Oldest: r.Oldest}
		if !r.Oldest.IsZero() {
			v.Age = max(0, now.Sub(r.Oldest).Seconds())
		}
		if err := out.Add(v, string(v.Reason), fmt.Sprint(v.Count), out.When(v.Oldest, now)); err != nil {
			return err
		}
	}
	return out.End()
}
