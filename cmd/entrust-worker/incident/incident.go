// Package incident is the verbs of mass revocation: a named list of serials, and the run
// that has each of them revoked.
package incident

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/internal/incident"
)

// Command is the group of verbs.
func Command(t *terminal.Terminal, dial connect.Dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "incident",
		Short: "Revoke many certificates as one incident",
		Long: `Revoke many certificates as one incident: create the incident, load serials into it, run it, and show its progress. A
run sends revocations at a rate, through the lane of revocations. It may be killed at any time; the same command
continues it, and each serial is revoked once.`,
		Args: cobra.ArbitraryArgs,
		RunE: usage.NeedsVerb,
	}
	cmd.AddCommand(createCommand(t, dial), loadCommand(t, dial), runCommand(t, dial), showCommand(t, dial))
	return cmd
}

// work connects, opens the bucket, and explains what went wrong.
func work(cmd *cobra.Command, dial connect.Dialer, do func(context.Context, *connect.Bus, *incident.Store) error, staying bool, t *terminal.Terminal) error {
	run := func(ctx context.Context, bus *connect.Bus) error {
		step, cancel := bus.Step(ctx)
		store, err := incident.Open(step, bus.JS, bus.Layout.Incidents)
		cancel()
		if errors.Is(err, jetstream.ErrBucketNotFound) {
			return usage.WithHint(fmt.Errorf("opening bucket %s: it does not exist", bus.Layout.Incidents), "entrust-worker provision creates it")
		}
		if err != nil {
			return err
		}
		err = do(ctx, bus, store)
		switch {
		case errors.Is(err, incident.ErrUnknown):
			return usage.WithHint(usage.Wrap(err), "entrust-worker incident show lists the incidents; incident create creates one")
		case errors.Is(err, incident.ErrExists):
			return usage.WithHint(usage.Wrap(err), "entrust-worker incident show lists the incidents")
		}
		return err
	}
	if staying {
		return dial.Work(cmd, run, connect.Staying(t.Err)...)
	}
	return dial.Work(cmd, run)
}

// oneName takes the name of an incident.
func oneName(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usage.WithHint(usage.Errorf("name one incident, got %d arguments", len(args)), "%s --help", cmd.CommandPath())
	}
	return usage.Wrap(incident.CheckName(args[0]))
}

func createCommand(t *terminal.Terminal, dial connect.Dialer) *cobra.Command {
	var i incident.Incident
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Create an incident without serials",
		Long: `Create an incident without serials. The verb revokes nothing. The requests of the incident have the producer
incident-NAME, and the audit trail has the text of --why with each of them.`,
		Example: `  entrust-worker incident create leak-7 --reason keyCompromise --why 'host 7 was broken into'`,
		Args:    oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			if i.Why == "" {
				return usage.Errorf("--why is missing: the audit trail needs the reason for the revocations")
			}
			i.Name, i.Operator, i.Created = args[0], t.Operator(), t.Now().UTC()
			return work(cmd, dial, func(ctx context.Context, bus *connect.Bus, s *incident.Store) error {
				step, cancel := bus.Step(ctx)
				defer cancel()
				if err := s.Create(step, &i); err != nil {
					return err
				}
				t.Printf("created incident %s\n", i.Name)
				return nil
			}, false, t)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&i.Reason, "reason", "", "RFC 5280 `reason`, such as keyCompromise or cACompromise")
	flags.StringVar(&i.Comment, "comment", "", "`text` for the CA's records")
	flags.StringVar(&i.CAID, "ca", "", "`id` of the certificate authority of serials that name none; default the worker's")
	flags.BoolVar(&i.IssueCRL, "issue-crl", false, "ask for a revocation list with each revocation; without it the gateway issues lists at its own time")
	flags.StringVar(&i.Why, "why", "", "`text` for the audit trail")
	return cmd
}

func runCommand(t *terminal.Terminal, dial connect.Dialer) *cobra.Command {
	var yes, asJSON bool
	rate := usage.Rate{N: 10, Per: time.Second}
	r := incident.Run{InFlight: 64}
	cmd := &cobra.Command{
		Use:   "run NAME",
		Short: "Revoke each serial of an incident",
		Long: `Revoke each serial of an incident, and wait for the results. Without --yes the verb says what it would do, and does
nothing. The same command continues a run that was interrupted or killed.

The exit code is 1 if a serial was not revoked. A revocation that failed has a dead letter of the producer
incident-NAME: entrust-worker dead replay tries it again.`,
		Example: `  entrust-worker incident run leak-7
  entrust-worker incident run leak-7 --rate 20 --yes`,
		Args: oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			if r.InFlight < 1 {
				return usage.Errorf("--in-flight must be at least 1, is %d", r.InFlight)
			}
			r.Rate = rate.PerSecond()
			return work(cmd, dial, func(ctx context.Context, bus *connect.Bus, s *incident.Store) error {
				i, st, err := status(ctx, bus, s, args[0])
				if err != nil {
					return err
				}
				if !yes {
					return plan(t, i, st, rate)
				}
				bar := t.Progress(st.Serials, "revoking")
				defer bar.End()
				done := 0
				r.JS, r.Layout, r.Store = bus.JS, bus.Layout, s
				r.Note = func(text string) { t.Notef("%s", text) }
				r.Progress = func(st incident.Status) {
					bar.Add(st.Revoked + st.Failed - done)
					done = st.Revoked + st.Failed
					bar.Still()
				}
				report, err := r.Do(ctx, args[0])
				bar.End()
				if err != nil {
					return usage.WithHint(err, "the same command continues the run")
				}
				if err := print(t, i, &report.Status, asJSON); err != nil {
					return err
				}
				if report.Revoked < report.Serials {
					return usage.Code(usage.Failed)
				}
				return nil
			}, true, t)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&yes, "yes", false, "do it; without this the verb says what it would do")
	flags.Var(&rate, "rate", "most requests in a time, such as 20/s or 600/min; a number alone is per second, 0 is no limit")
	flags.IntVar(&r.InFlight, "in-flight", r.InFlight, "at most this `number` of requests without a result: other revocations wait behind them")
	flags.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// plan says what a run would do.
func plan(t *terminal.Terminal, i *incident.Incident, st incident.Status, rate usage.Rate) error {
	reason := i.Reason
	if reason == "" {
		reason = "no reason"
	}
	t.Printf("would revoke %d of %d serials, %s: %d are revoked, %d failed, %d are under way\n",
		st.Open, st.Serials, reason, st.Revoked, st.Failed, st.Waiting)
	if d := rate.Takes(st.Open, 0); d > 0 {
		t.Printf("at %s, that takes at least %s\n", &rate, terminal.Span(d))
	}
	t.Notef("nothing was done; pass --yes to revoke")
	return nil
}

// status reads an incident and how far it has come.
func status(ctx context.Context, bus *connect.Bus, s *incident.Store, name string) (*incident.Incident, incident.Status, error) {
	step, cancel := bus.Step(ctx)
	i, _, err := s.Get(step, name)
	cancel()
	if err != nil {
		return nil, incident.Status{}, err
	}
	st, err := incident.StatusOf(ctx, bus.JS, bus.Layout, s, i)
	return i, st, err
}
