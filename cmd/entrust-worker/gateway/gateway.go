// Package gateway is the verbs that read from the gateway, and change nothing there.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/config"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/mtlscache"
)

// Command is the group of verbs.
func Command(t *terminal.Terminal, loader *config.Loader) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "gateway",
		Short: "Read CAs, profiles, chains and certificates from the gateway",
		Long: `Read CAs, profiles, chains and certificates from the gateway, with the worker's configuration and client
certificate. The verbs change nothing, and need no NATS. --gateway-ca-id names another CA than the configured one.
A gateway of the certctl dialect describes at most its CAs.`,
		Args: cobra.ArbitraryArgs,
		RunE: usage.NeedsVerb,
	}
	cmd.AddCommand(casCommand(t, loader), profilesCommand(t, loader), chainCommand(t, loader), certificateCommand(t, loader))
	return cmd
}

// read connects to the gateway and has do read from it, within the limit of one call of each
// kind that do may make.
func read(cmd *cobra.Command, loader *config.Loader, do func(context.Context, *gateway.Client) error) error {
	s, err := loader.Worker(cmd.Flags())
	if err != nil {
		return err
	}
	cache, err := mtlscache.New(s.Transport(slog.New(slog.DiscardHandler)))
	if err != nil {
		return usage.WithHint(fmt.Errorf("loading the client key pair: %w", s.ExplainKeyPair(err)), "entrust-worker check tries the files")
	}
	defer cache.Close()
	client, err := gateway.New(s.GatewayClient(), &http.Client{Transport: cache}, nil)
	if err != nil {
		return usage.Wrap(err)
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 2*s.Gateway.Timeout)
	defer cancel()
	err = do(ctx, client)
	if err == nil || errors.Is(err, gateway.ErrNotDescribed) || errors.Is(err, gateway.ErrNoCertificates) {
		return err
	}
	return usage.WithHint(fmt.Errorf("reading from the gateway: %w", err), "entrust-worker check tries the gateway and the client certificate")
}
