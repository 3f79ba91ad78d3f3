// Package events is the verb that shows what happens, as it happens.
package events

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/tail"
)

// filter chooses events. Its zero value chooses all.
type filter struct {
	producer, kind string
	what           []string
	since          usage.Span
	limit          int
}

// Command is the verb.
func Command(t *terminal.Terminal, dial connect.Dialer) *cobra.Command {
	var f filter
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show what happens, as it happens",
		Long: `Show what happens, until interrupted: orders that are submitted, refused, parked and closed; dead letters; workers that
start and stop; breakers, pauses and suspensions. With an audit trail the verb also shows what operators and policies
decided; with gateway.feed it shows certificate events.

--since begins in the past. The ledger keeps only the last state of an order, so the verb shows one line for each order
of that time. NATS keeps no past of workers, breakers, pauses and suspensions.`,
		Example: `  entrust-worker events --what failed,rejected,'dead letter'
  entrust-worker events --producer web --since 10m --json`,
		Args: usage.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(cmd); err != nil {
				return err
			}
			out := t.NewTail(asJSON, []string{"TIME", "WHAT", "ABOUT", "KIND", "REPLAY", "DETAIL"}, []int{14, 28, 6, 0, 0})
			return dial.Work(cmd, func(ctx context.Context, bus *connect.Bus) error {
				return f.follow(ctx, bus, t, out)
			}, connect.Staying(t.Err)...)
		},
	}
	cmd.Flags().StringVar(&f.producer, "producer", "", "only events of this `producer`, and of the fleet")
	cmd.Flags().StringVar(&f.kind, "kind", "", "only events of requests of this kind: `issue`, revoke, track or cancel")
	cmd.Flags().StringSliceVar(&f.what, "what", nil, "only events with one of these `words` in the column WHAT")
	cmd.Flags().Var(&f.since, "since", "begin this long ago")
	cmd.Flags().IntVar(&f.limit, "limit", 0, "end after this `number` of events; 0 is no limit")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per line")
	usage.Complete(cmd, "kind", "issue", "revoke", "track", "cancel")
	cmd.ValidArgsFunction = cobra.NoFileCompletions
	return cmd
}

func (f *filter) check(cmd *cobra.Command) error {
	if err := usage.NoneEmpty(cmd.Flags(), "producer", "kind", "what", "since"); err != nil {
		return err
	}
	if f.producer != "" && !entrustbus.ValidToken(f.producer) {
		return usage.Errorf("--producer must be 1 to 64 letters, digits, _ and -, is %q", f.producer)
	}
	if f.kind != "" && !entrustbus.Kind(f.kind).Valid() {
		return usage.Errorf("--kind must be issue, revoke, track or cancel, is %q", f.kind)
	}
	if f.limit < 0 {
		return usage.Errorf("--limit must be at least 0, is %d", f.limit)
	}
	return nil
}

// match reports whether the filter chooses an event.
func (f *filter) match(e *tail.Event) bool {
	return (f.kind == "" || string(e.Kind) == f.kind) &&
		(len(f.what) == 0 || slices.ContainsFunc(f.what, func(w string) bool {
			return strings.EqualFold(strings.ReplaceAll(w, "-", " "), strings.ReplaceAll(string(e.What), "-", " "))
		}))
}

func (f *filter) follow(ctx context.Context, bus *connect.Bus, t *terminal.Terminal, out *terminal.Tail) error {
	follower := tail.Follower{JS: bus.JS, Layout: bus.Layout, Producer: f.producer}
	if f.since > 0 {
		follower.Since = t.Now().Add(-time.Duration(f.since))
	}
	n := 0
	for e, err := range follower.Events(ctx) {
		if err != nil {
			return err
		}
		if !f.match(&e) {
			continue
		}
		replay := ""
		if e.Replay > 0 {
			replay = fmt.Sprint(e.Replay)
		}
		if err := out.Add(e, e.Time, string(e.What), e.About(), string(e.Kind), replay, e.Detail); err != nil {
			return err
		}
		if n++; n == f.limit {
			return nil
		}
	}
	return nil
}
