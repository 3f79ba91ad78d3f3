package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/internal/streams"
)

func provisionCommand(a *app) *cobra.Command {
	var dryRun, asJSON bool
	cmd := &cobra.Command{
		Use:   "provision",
		Short: "Create the streams, buckets and consumers that are missing",
		Long: `Create the streams, buckets and consumers that are missing, then verify all of
them. What is there is never changed: what is wrong with it is told, with the
command that mends it.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.bus(cmd)
			if err != nil {
				return err
			}
			nc, err := s.connect("provision")
			if err != nil {
				return err
			}
			defer nc.Close()
			ctx, cancel := context.WithTimeout(cmd.Context(), 20*s.NATS.Timeout)
			defer cancel()

			do, done := streams.Provision, "created"
			if dryRun {
				do, done = streams.Plan, "would create"
			}
			changes, err := do(ctx, nc.js, s.layout())
			if asJSON {
				if changes == nil {
					changes = []streams.Change{}
				}
				if err := json.NewEncoder(a.out).Encode(changes); err != nil {
					return err
				}
			} else {
				for _, c := range changes {
					a.printf("%s %s %s: %s\n", done, c.Kind, c.Name, c.Detail)
				}
				if len(changes) == 0 && err == nil {
					a.printf("nothing is missing\n")
				}
			}
			if err != nil {
				return explainStreams(err)
			}
			if dryRun {
				return explainStreams(verifyPresent(ctx, nc.js, s.layout()))
			}
			return explainStreams(streams.Verify(ctx, nc.js, s.layout()))
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "tell what would be created, and what is there and wrong, and create nothing")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// verifyPresent is streams.Verify for what is there.
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

// explainStreams adds the likely fix to what streams returns.
func explainStreams(err error) error {
	var finding *streams.Finding
	var api *jetstream.APIError
	switch {
	case errors.As(err, &finding):
		if finding.Got == "missing" {
			return withHint(err, "entrust-worker provision creates what is missing; so does --provision")
		}
		return withHint(err, "the worker never changes a stream by itself")
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return withHint(err, "start nats-server with -js, or enable JetStream for the account")
	case errors.As(err, &api) && api.ErrorCode == 10047: // insufficient storage resources available
		return withHint(err, "the server sets --streams-requests-max-bytes aside when the stream is made: ask for less, or raise its max_file_store")
	case errors.As(err, &api) && api.ErrorCode == 10065: // subjects overlap with an existing stream
		return withHint(err, "another stream takes these subjects: nats stream ls --subject=SUBJECT finds it; --streams-prefix or the names of streams make it another place")
	case errors.As(err, &api) && api.ErrorCode == 10074: // replicas > 1 not supported in non-clustered mode
		return withHint(err, "--replicas=1 on a server without a cluster")
	case errors.Is(err, context.DeadlineExceeded):
		return withHint(fmt.Errorf("%w (JetStream did not answer)", err), "is JetStream enabled, and may this user use it? --timeout extends the wait")
	}
	return err
}
