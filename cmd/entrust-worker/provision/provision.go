// Package provision is the verb that creates missing streams, buckets and consumers.
package provision

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/config"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// Command is the verb.
func Command(t *terminal.Terminal, loader *config.Loader) *cobra.Command {
	var dryRun, asJSON bool
	cmd := &cobra.Command{
		Use:   "provision",
		Short: "Create the streams, buckets and consumers that are missing",
		Long: `Create the streams, buckets and consumers that are missing, then verify all of
them. The verb never changes existing ones: it reports what is wrong with them, and
the command that fixes it.`,
		Example: `  entrust-worker provision --dry-run
  entrust-worker provision --replicas 3`,
		Args: usage.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := loader.Bus(cmd.Flags())
			if err != nil {
				return err
			}
			bus, err := connect.Open(s, loader.Scrubber(), "provision")
			if err != nil {
				return err
			}
			defer bus.Close()
			ctx, cancel := context.WithTimeout(cmd.Context(), 20*s.NATS.Timeout)
			defer cancel()

			do, done := streams.Provision, "created"
			if dryRun {
				do, done = streams.Plan, "would create"
			}
			changes, err := do(ctx, bus.JS, bus.Layout)
			if asJSON {
				if changes == nil {
					changes = []streams.Change{}
				}
				if err := terminal.PrintJSON(t.Out, changes); err != nil {
					return err
				}
			} else {
				for _, c := range changes {
					t.Printf("%s %s %s: %s\n", done, c.Kind, c.Name, c.Detail)
				}
				if len(changes) == 0 && err == nil {
					t.Printf("nothing is missing\n")
				}
			}
			if err != nil {
				return bus.Explain(err)
			}
			if dryRun {
				return bus.Explain(verifyPresent(ctx, bus.JS, bus.Layout))
			}
			return bus.Explain(streams.Verify(ctx, bus.JS, bus.Layout))
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "report what would be created and what is wrong, and create nothing")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// verifyPresent is streams.Verify for the streams, buckets and consumers that exist.
func verifyPresent(ctx context.Context, js jetstream.JetStream, l streams.Layout) error {
	found, err := streams.Inspect(ctx, js, l)
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range found {
		if !f.Note && f.Got != "missing" {
			errs = append(errs, &f)
		}
	}
	return errors.Join(errs...)
}
