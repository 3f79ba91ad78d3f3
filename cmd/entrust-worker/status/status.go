// Package status is the verb that shows how a fleet of workers is.
package status

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/internal/snapshot"
)

// Exit codes of the verb, in the order of a monitor.
const (
	exitOK       = 0
	exitWarning  = 1
	exitCritical = 2
)

// minEvery is the shortest pause between two readings of the live screen.
const minEvery = time.Second

// Command is the verb.
func Command(t *terminal.Terminal, dial connect.Dialer) *cobra.Command {
	var asJSON, watch bool
	every := usage.Span(5 * time.Second)
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the state of the fleet: problems, workers, lanes, breakers, dead letters",
		Long: `Show the state of the fleet as NATS has it: problems first, then workers, open breakers,
pauses, suspensions, lanes, parked orders, dead letters and streams. The verb changes
nothing.

Exit code 0 if nothing is wrong, 1 if there are warnings, 2 if orders make no progress,
the verb cannot read the fleet, or the configuration is wrong. A monitor can run the verb
as it is: the first line is the worst problem. The live screen exits with 0.

--watch shows a live screen: q ends it, ? shows its keys. While NATS does not answer, the
screen keeps the last figures and shows since when they are stale.`,
		Example: `  entrust-worker status
  entrust-worker status --watch --every 2s
  entrust-worker status --json`,
		Args: usage.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case watch && asJSON:
				return usage.Errorf("--watch and --json exclude each other")
			case watch && time.Duration(every) < minEvery:
				return usage.Errorf("--every must be at least %v", minEvery)
			case watch && !(terminal.Is(t.Out) && terminal.Is(t.In)):
				return usage.WithHint(usage.Errorf("--watch needs a terminal"), "leave out --watch, or use --json")
			case watch:
				return live(cmd, t, dial, time.Duration(every))
			}
			s, err := once(cmd, dial)
			if err != nil {
				return err
			}
			return report(t, s, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	cmd.Flags().BoolVar(&watch, "watch", false, "show a live screen")
	cmd.Flags().Var(&every, "every", "pause between two readings of the live screen")
	return cmd
}

// once reads one snapshot. A server that cannot be reached is one, too. The error is a mistake
// of the configuration.
func once(cmd *cobra.Command, dial connect.Dialer) (snapshot.Snapshot, error) {
	var s snapshot.Snapshot
	err := dial.Work(cmd, func(ctx context.Context, bus *connect.Bus) error {
		s = snapshot.New(bus.JS, bus.Layout).Read(ctx)
		return nil
	})
	switch {
	case err == nil:
	case usage.ExitCode(err) == usage.Wrong:
		return s, err
	default:
		if hint := usage.Hint(err); hint != "" {
			err = fmt.Errorf("%w (%s)", err, hint)
		}
		s = snapshot.Unreachable(err)
	}
	return s, nil
}

// summary is the snapshot as --json prints it.
type summary struct {
	// Status is ok, warning or critical.
	Status   string             `json:"status"`
	Problems []snapshot.Problem `json:"problems"`
	snapshot.Snapshot
}

// report prints a snapshot, and returns the exit code as an error.
func report(t *terminal.Terminal, s snapshot.Snapshot, asJSON bool) error {
	now := t.Now()
	problems := s.Problems(now)
	word, code := "ok", exitOK
	switch snapshot.Worst(problems) {
	case snapshot.Critical:
		word, code = "critical", exitCritical
	case snapshot.Warning:
		word, code = "warning", exitWarning
	}
	if asJSON {
		if problems == nil {
			problems = []snapshot.Problem{}
		}
		if err := terminal.PrintJSON(t.Out, summary{word, problems, s}); err != nil {
			return err
		}
	} else {
		p := printer{now: now, width: t.Width(), colour: t.Colours()}
		for _, line := range p.lines(s) {
			t.Printf("%s\n", line)
		}
	}
	if code != exitOK {
		return usage.Code(code)
	}
	return nil
}

// live shows the live screen until a key, or the context, ends it.
func live(cmd *cobra.Command, t *terminal.Terminal, dial connect.Dialer, every time.Duration) error {
	return dial.Work(cmd, func(ctx context.Context, bus *connect.Bus) error {
		return show(ctx, t, snapshot.New(bus.JS, bus.Layout), every)
	}, append(connect.Staying(io.Discard), nats.RetryOnFailedConnect(true))...)
}
