// Package orders is the verbs that look after orders: ls, show, watch, poll, cancel,
// complete and resolve.
package orders

import (
	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
)

// Command is the group of verbs.
func Command(t *terminal.Terminal, dial connect.Dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "orders",
		Short: "Show orders, poll one now, or end one by hand",
		Long: `Show what the ledger knows of orders, have a worker poll a waiting order now, stop waiting for it, or end one by hand:
with the certificate that was issued for it, or by the word that nothing was.

An order is named <producer>.<id>, or by its id with --producer. Phases: submitting (a call to the gateway may be
under way), unaccepted (no try was accepted; a worker tries again), indeterminate (a call may have been accepted;
a worker finds out), awaiting (the gateway has it; a worker polls), concluded (the outcome is known and not yet
published), closed (the result is published).`,
		Args: cobra.ArbitraryArgs,
		RunE: usage.NeedsVerb,
	}
	cmd.AddCommand(lsCommand(t, dial), showCommand(t, dial), watchCommand(t, dial), pollCommand(t, dial), cancelCommand(t, dial), completeCommand(t, dial), resolveCommand(t, dial))
	usage.CompleteNothing(cmd)
	return cmd
}
