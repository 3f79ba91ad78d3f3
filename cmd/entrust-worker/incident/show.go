package incident

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/internal/incident"
)

func showCommand(t *terminal.Terminal, dial connect.Dialer) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show [NAME]",
		Short: "Show the progress of an incident, or list the incidents",
		Example: `  entrust-worker incident show
  entrust-worker incident show leak-7 --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return work(cmd, dial, func(ctx context.Context, bus *connect.Bus, s *incident.Store) error {
				if len(args) == 0 {
					return list(ctx, t, bus, s, asJSON)
				}
				if err := incident.CheckName(args[0]); err != nil {
					return usage.Wrap(err)
				}
				i, st, err := status(ctx, bus, s, args[0])
				if err != nil {
					return err
				}
				return print(t, i, &st, asJSON)
			}, false, t)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// shown is an incident as it is printed.
type shown struct {
	Name     string    `json:"name"`
	Reason   string    `json:"reason,omitempty"`
	Comment  string    `json:"comment,omitempty"`
	CAID     string    `json:"ca_id,omitempty"`
	Operator string    `json:"operator"`
	Why      string    `json:"why"`
	Created  time.Time `json:"created"`
	incident.Status
}

func newShown(i *incident.Incident, st *incident.Status) *shown {
	return &shown{i.Name, i.Reason, i.Comment, i.CAID, i.Operator, i.Why, i.Created, *st}
}

func list(ctx context.Context, t *terminal.Terminal, bus *connect.Bus, s *incident.Store, asJSON bool) error {
	step, cancel := bus.Step(ctx)
	names, err := s.Names(step)
	cancel()
	if err != nil {
		return err
	}
	out := t.List(asJSON, "NAME", "SERIALS", "REVOKED", "FAILED", "UNDER WAY", "OPEN", "CREATED", "WHY")
	out.None = "no incidents"
	for _, name := range names {
		i, st, err := status(ctx, bus, s, name)
		if err != nil {
			return out.Finish(err)
		}
		err = out.Add(newShown(i, &st), i.Name, strconv.Itoa(st.Serials), strconv.Itoa(st.Revoked), strconv.Itoa(st.Failed),
			strconv.Itoa(st.Waiting), strconv.Itoa(st.Open), out.Date(i.Created), i.Why)
		if err != nil {
			return err
		}
	}
	return out.End()
}

// print prints one incident.
func print(t *terminal.Terminal, i *incident.Incident, st *incident.Status, asJSON bool) error {
	if asJSON {
		return terminal.PrintJSON(t.Out, newShown(i, st))
	}
	for _, line := range [][2]string{
		{"name", i.Name}, {"reason", i.Reason}, {"why", i.Why}, {"operator", i.Operator},
		{"serials", strconv.Itoa(st.Serials)}, {"revoked", strconv.Itoa(st.Revoked)}, {"failed", strconv.Itoa(st.Failed)},
		{"under way", strconv.Itoa(st.Waiting)}, {"open", strconv.Itoa(st.Open)},
	} {
		t.Printf("%-12s%s\n", line[0], terminal.Plain(line[1]))
	}
	for n, f := range st.Failures {
		if n == 0 {
			t.Printf("\n")
		}
		t.Printf("%s\n", terminal.Plain(fmt.Sprintf("%s  %s  %s", f.Serial, f.Outcome, f.Error)))
	}
	if more := st.Failed - len(st.Failures); more > 0 {
		t.Printf("and %d more: entrust-worker dead ls --producer %s\n", more, i.Producer())
	}
	return nil
}
