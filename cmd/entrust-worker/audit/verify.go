package audit

import (
	"context"
	"crypto/ed25519"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/internal/audit"
)

func verifyCommand(t *terminal.Terminal, dial connect.Dialer) *cobra.Command {
	var keys []string
	var asJSON, ended bool
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check that no record was changed, removed, moved or added",
		Long: `Check the whole audit trail: every number and hash of every chain, and that the heads match the stream. With --key,
also check the signatures of the heads.

Each start of a worker has a chain. A chain without an end belongs to a worker that runs or was killed, or its end was
cut off. Records after the last head of such a chain are not proven; the verb prints how many there are.

The exit code is 1 if there is a fault. With --ended a chain without an end is a fault too.`,
		Example: `  entrust-worker audit verify --key audit.pub
  entrust-worker audit verify --json | jq .faults`,
		Args: usage.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var v audit.Verifier
			for _, path := range keys {
				key, err := audit.ReadPublicKey(path)
				if err != nil {
					return usage.Wrap(err)
				}
				v.Keys = append(v.Keys, key)
			}
			return dial.Work(cmd, func(ctx context.Context, bus *connect.Bus) error {
				info, err := open(ctx, bus)
				if err != nil {
					return err
				}
				v.MaxAge, v.Created, v.Now = info.Config.MaxAge, info.Created, info.TimeStamp
				bar := t.Progress(int(info.State.Msgs), "verifying")
				defer bar.End()
				for m, err := range audit.Read(ctx, bus.JS, bus.Layout.Audit, 1) {
					if err != nil {
						return err
					}
					v.Add(m)
					bar.Add(1)
				}
				bar.End()
				return report(t, v.Report(), v.Keys, asJSON, ended)
			})
		},
	}
	cmd.Flags().StringArrayVar(&keys, "key", nil, "`path` of a public key, PEM, that signs heads; may be repeated. With it every head must be signed")
	cmd.Flags().BoolVar(&ended, "ended", false, "count a chain without an end as a fault; for a fleet whose workers are all stopped")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// report prints what was found.
func report(t *terminal.Terminal, r *audit.Report, keys []ed25519.PublicKey, asJSON, ended bool) error {
	open, unproven := 0, uint64(0)
	for _, c := range r.Chains {
		if !c.Ended {
			open++
			unproven += c.Unproven
		}
		if !c.Ended && ended {
			r.Faults = append(r.Faults, audit.Fault{Chain: c.Chain, What: fmt.Sprintf("has no end: %d records follow its last head", c.Unproven)})
		}
	}
	if asJSON {
		if err := terminal.PrintJSON(t.Out, r); err != nil {
			return err
		}
	} else {
		for _, f := range r.Faults {
			t.Printf("fault: %s\n", terminal.Plain(f.Error()))
		}
		signed := "signatures not checked"
		if len(keys) > 0 {
			signed = "signatures checked"
		}
		t.Printf("%d records from %d to %d in %d chains, %s: %d faults\n", r.Records, r.First, r.Last, len(r.Chains), signed, len(r.Faults))
		if open > 0 {
			t.Printf("without an end: %d chains; not proven: %d records after their last heads\n", open, unproven)
		}
	}
	if len(r.Faults) > 0 {
		return usage.Code(usage.Failed)
	}
	return nil
}
