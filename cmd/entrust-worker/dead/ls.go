package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/internal/deadletter"
)

func deadLsCommand(a *app) *cobra.Command {
	var f letterFlags
	var asJSON, summary, newest bool
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List dead letters, oldest first",
		Long: `List dead letters, oldest first. On a terminal the first 100; --limit says otherwise.

Fields are separated by tabs where the output is no terminal; --json prints one JSON object per line.`,
		Example: `  entrust-worker dead ls --summary
  entrust-worker dead ls --reason expired --producer web --older-than 1d`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, err := f.filter(nil)
			if err != nil {
				return err
			}
			if summary && (newest || anyChanged(cmd, "reason", "producer", "kind", "id", "older-than", "newer-than", "limit")) {
				return usagef("--summary counts all letters: no other choice goes with it")
			}
			if !cmd.Flags().Changed("limit") && !asJSON && isTerminal(a.out) {
				f.limit = terminalLimit
			}
			return a.atDesk(cmd, func(ctx context.Context, d *desk) error {
				if summary {
					return a.summarise(ctx, d, asJSON)
				}
				return a.listLetters(ctx, d, filter, f.limit, newest, asJSON)
			})
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&newest, "newest", false, "with --limit, the newest letters rather than the oldest")
	cmd.Flags().BoolVar(&summary, "summary", false, "count letters by reason, with the age of the oldest")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per line")
	return cmd
}

func anyChanged(cmd *cobra.Command, names ...string) bool {
	for _, name := range names {
		if cmd.Flags().Changed(name) {
			return true
		}
	}
	return false
}

// listLetters prints letters. One that cannot be read is passed over; the first such
// error is returned after the rest was printed.
func (a *app) listLetters(ctx context.Context, d *desk, filter deadletter.Filter, limit int, newest, asJSON bool) error {
	out := a.listing(asJSON, "SEQ", "DIED", "REASON", "ORDER", "KIND", "REPLAY", "DEATHS", "ERROR")
	out.none = "no dead letters"
	now := time.Now()
	show := func(l *deadletter.Letter) error {
		v := newLetter(l)
		return out.add(v, fmt.Sprint(v.Sequence), out.when(v.Time, now), string(v.Reason), v.order(), string(v.Kind),
			fmt.Sprint(v.Replay), fmt.Sprint(v.Deaths), v.Error)
	}
	var first error
	var last []*deadletter.Letter // with newest, the last limit letters
	n, more := 0, false
	for l, err := range d.box().List(ctx, filter) {
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
	err := out.finish(first)
	if more && isTerminal(a.out) {
		fmt.Fprintln(a.err, "there are more; --limit 0 lists all")
	}
	return err
}

// depth is what the summary shows of one reason.
type depth struct {
	Reason deadletter.Reason `json:"reason"`
	Count  uint64            `json:"letters"`
	Oldest time.Time         `json:"oldest,omitzero"`
	Age    float64           `json:"oldest_age_seconds"`
}

// summarise prints how many letters there are of each reason.
func (a *app) summarise(ctx context.Context, d *desk, asJSON bool) error {
	ctx, cancel := d.step(ctx)
	defer cancel()
	depths, err := d.box().Depths(ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	out := a.listing(asJSON, "REASON", "LETTERS", "OLDEST")
	for _, r := range depths {
		v := depth{Reason: r.Reason, Count: r.Letters, Oldest: r.Oldest}
		if !r.Oldest.IsZero() {
			v.Age = max(0, now.Sub(r.Oldest).Seconds())
		}
		if err := out.add(v, string(v.Reason), fmt.Sprint(v.Count), out.when(v.Oldest, now)); err != nil {
			return err
		}
	}
	return out.end()
}
