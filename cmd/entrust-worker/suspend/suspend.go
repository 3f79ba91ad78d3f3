// Package suspend is the verbs suspend and resume: operators keep the fleet from calling the
// gateway for a lane, a producer or a CA, and let it go on.
package suspend

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/internal/audit"
	"github.com/entrust-worker/entrust-worker/internal/control"
)

// maxReason is how long a reason may be, in bytes.
const maxReason = 200

// scope is what the flags of a verb name.
type scope struct {
	control.Scope
	all bool
}

// addFlags adds the flags that name a scope.
func (s *scope) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&s.Lane, "lane", "", "the calls of this `lane`: "+strings.Join(control.Lanes(), ", "))
	flags.StringVar(&s.Producer, "producer", "", "the calls for this producer's orders, by its `name`")
	flags.StringVar(&s.CA, "ca", "", "the calls at this certificate authority, by its `id`")
	flags.BoolVar(&s.all, "all", false, "every call to the gateway")
	usage.Complete(cmd, "lane", control.Lanes()...)
}

// check returns what is wrong with the flags.
func (s *scope) check(cmd *cobra.Command) error {
	if err := usage.NoneEmpty(cmd.Flags(), "lane", "producer", "ca"); err != nil {
		return err
	}
	switch named := s.Scope != (control.Scope{}); {
	case !named && !s.all:
		return usage.WithHint(usage.Errorf("nothing to suspend or resume: pass --lane, --producer or --ca, or --all"), "entrust-worker suspend --list shows what is suspended")
	case named && s.all:
		return usage.Errorf("--all is every call: leave out --lane, --producer and --ca")
	}
	return usage.Wrap(s.Validate())
}

// flags are those that name the scope, as an operator types them.
func flags(s control.Scope) string {
	var all []string
	for _, f := range [][2]string{{"--lane", s.Lane}, {"--producer", s.Producer}, {"--ca", s.CA}} {
		if f[1] != "" {
			all = append(all, f[0]+" '"+strings.ReplaceAll(terminal.Plain(f[1]), "'", `'\''`)+"'")
		}
	}
	if len(all) == 0 {
		return "--all"
	}
	return strings.Join(all, " ")
}

// bucket opens the control bucket for a verb.
func bucket(bus *connect.Bus, t *terminal.Terminal) *control.Bucket {
	return control.Open(control.Config{JS: bus.JS, Bucket: bus.Layout.Control, Worker: t.Operator()})
}

// Command is the verb suspend.
func Command(t *terminal.Terminal, dial connect.Dialer) *cobra.Command {
	var s scope
	var reason string
	var list, asJSON bool
	cmd := &cobra.Command{
		Use:   "suspend",
		Short: "Stop the calls to the gateway for a lane, a producer or a CA",
		Long: `Stop every worker of the fleet from calling the gateway for a lane, a producer or a CA, until
entrust-worker resume with the same flags. Workers obey within seconds, and finish calls that are
under way. Suspended orders wait and do not fail: in their stream if all calls of a lane are
suspended, otherwise in a wake-up. submit_max_wait does not run meanwhile; the deadline of an order
that waits for approval does. A suspension survives restarts. Several flags suspend the calls that
match all of them.

Lanes: issue has certificate requests, new ones and those that are tried or looked up again. revoke
has revocations. poll has orders that wait for approval. manage has track and cancel requests, and
orders that operators complete or resolve by hand.`,
		Example: `  entrust-worker suspend --producer shop --reason 'asks for wrong names, ticket 4711'
  entrust-worker suspend --lane issue --ca ca-1 --reason 'maintenance until noon'
  entrust-worker suspend --list`,
		Args: usage.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if list {
				return show(cmd, t, dial, asJSON)
			}
			if err := s.check(cmd); err != nil {
				return err
			}
			if err := checkReason(reason); err != nil {
				return err
			}
			return dial.Work(cmd, func(ctx context.Context, bus *connect.Bus) error {
				if err := record(ctx, t, bus, audit.DecisionSuspended, s.Scope, reason); err != nil {
					return err
				}
				step, cancel := bus.Step(ctx)
				defer cancel()
				stands, added, err := bucket(bus, t).Suspend(step, control.Suspension{Scope: s.Scope, Operator: t.Operator(), Reason: reason})
				switch {
				case errors.Is(err, control.ErrTooManySuspensions):
					return usage.WithHint(err, "entrust-worker suspend --list shows them")
				case err != nil:
					return err
				case added:
					t.Printf("suspended %s\n", terminal.Plain(s.String()))
					t.Notef("entrust-worker resume %s ends it", flags(s.Scope))
				default:
					t.Printf("was suspended before: %s, %s ago\n", terminal.Plain(stands.About()), terminal.Span(t.Now().Sub(stands.Since)))
				}
				return nil
			})
		},
	}
	s.addFlags(cmd)
	cmd.Flags().StringVar(&reason, "reason", "", "why, in one `line`")
	cmd.Flags().BoolVar(&list, "list", false, "list what is suspended, and change nothing")
	cmd.Flags().BoolVar(&asJSON, "json", false, "with --list: print one JSON object per line")
	return cmd
}

// Resume is the verb resume.
func Resume(t *terminal.Terminal, dial connect.Dialer) *cobra.Command {
	var s scope
	var reason string
	cmd := &cobra.Command{
		Use:   "resume",
		Short: "End a suspension",
		Long: `End the suspension that entrust-worker suspend made with the same flags. Requests in a stream go on within
seconds. An order in a wake-up waits at most as long again as it was suspended, and at most 7 minutes, so
that not all orders come at once; entrust-worker orders poll wakes one now.`,
		Example: `  entrust-worker resume --producer shop --reason 'fixed its names'
  entrust-worker resume --all`,
		Args: usage.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.check(cmd); err != nil {
				return err
			}
			if err := checkReason(reason); err != nil {
				return err
			}
			return dial.Work(cmd, func(ctx context.Context, bus *connect.Bus) error {
				if err := record(ctx, t, bus, audit.DecisionResumed, s.Scope, reason); err != nil {
					return err
				}
				step, cancel := bus.Step(ctx)
				defer cancel()
				b := bucket(bus, t)
				_, removed, err := b.Resume(step, s.Scope)
				if err != nil {
					return err
				}
				what := "was not suspended: "
				if removed {
					what = "resumed "
				}
				t.Printf("%s%s\n", what, terminal.Plain(s.String()))
				left, err := b.Suspensions(step)
				if err != nil {
					return err
				}
				for _, o := range left {
					t.Notef("still suspended: %s", terminal.Plain(o.About()))
				}
				return nil
			})
		},
	}
	s.addFlags(cmd)
	cmd.Flags().StringVar(&reason, "reason", "", "why, in one `line`, for the audit trail")
	return cmd
}

// checkReason returns what is wrong with a reason.
func checkReason(reason string) error {
	if len(reason) > maxReason || terminal.Plain(reason) != reason {
		return usage.Errorf("--reason must be one line of at most %d bytes", maxReason)
	}
	return nil
}

// record writes to the audit trail what an operator is about to do: nothing is done without.
func record(ctx context.Context, t *terminal.Terminal, bus *connect.Bus, decision string, s control.Scope, reason string) error {
	if err := bus.Audit(ctx, &audit.Record{Decision: decision, Operator: t.Operator(), Reason: reason, Is: s.String()}); err != nil {
		return fmt.Errorf("nothing was done: %w", err)
	}
	return nil
}

// show lists what is suspended.
func show(cmd *cobra.Command, t *terminal.Terminal, dial connect.Dialer, asJSON bool) error {
	return dial.Work(cmd, func(ctx context.Context, bus *connect.Bus) error {
		out := t.List(asJSON, "LANE", "PRODUCER", "CA", "SINCE", "OPERATOR", "REASON")
		out.None = "nothing is suspended"
		step, cancel := bus.Step(ctx)
		defer cancel()
		all, err := bucket(bus, t).Suspensions(step)
		if err != nil {
			return out.Finish(err)
		}
		now := t.Now()
		each := func(s string) string {
			if s == "" {
				return "all"
			}
			return s
		}
		for _, s := range all {
			if err := out.Add(s, each(s.Lane), each(s.Producer), each(s.CA), out.When(s.Since, now), s.Operator, s.Reason); err != nil {
				return err
			}
		}
		return out.End()
	})
}
