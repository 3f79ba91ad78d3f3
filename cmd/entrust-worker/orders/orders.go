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
		Long: `Show what the ledger knows of orders, have a worker poll a waiting order now, stop waiting for an order, or end one by
hand: complete it with its certificate, or resolve it as not issued.

Name an order <producer>.<id>, or by its id with --producer. Phases: submitting (a call to the gateway may be under
way), unaccepted (the gateway accepted no try; a worker tries again), indeterminate (the gateway may have accepted a
call; a worker looks it up), awaiting (the gateway has the order; a worker polls it), concluded (the outcome is known
and not all of it is published), closed (the result is published).`,
		Args: cobra.ArbitraryArgs,
		RunE: usage.NeedsVerb,
	}
	cmd.AddCommand(lsCommand(t, dial), showCommand(t, dial), watchCommand(t, dial), pollCommand(t, dial), cancelCommand(t, dial), completeCommand(t, dial), resolveCommand(t, dial))
	usage.CompleteNothing(cmd)
	return cmd
}
