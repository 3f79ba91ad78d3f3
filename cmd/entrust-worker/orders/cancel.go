package orders

import (
	"context"
	"fmt"

	"github.com/nats-io/nuid"
	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/order"
)

func cancelCommand(t *terminal.Terminal, dial connect.Dialer) *cobra.Command {
	e := ending{terminal: t, word: "cancel", done: "cancelled", plan: planCancel}
	cmd := &cobra.Command{
		Use:   "cancel ORDER...",
		Short: "Stop waiting for an order",
		Long: `Stop waiting for an order. The verb sends an operator's cancel request in the name of the order's producer, and the
order ends as cancelled. The worker does not tell the gateway. It logs a certificate that the gateway issues later, and
request track fetches that certificate.

Without --yes the verb says what it would do, and does nothing. The audit trail names the operator and keeps the text
of --why.`,
		Example: `  entrust-worker orders cancel web.4711
  entrust-worker orders cancel web.4711 --yes --why 'ordered twice'`,
		Args: usage.AtLeastOne("ORDER"),
		RunE: func(cmd *cobra.Command, args []string) error { return e.run(cmd, dial, args) },
	}
	e.add(cmd)
	return cmd
}

// planCancel plans the cancellation of an order that goes on.
func planCancel(_ context.Context, _ *desk, key order.Key, rec order.Stored) (*plan, error) {
	switch {
	case rec.Kind != entrustbus.KindIssue && rec.Kind != entrustbus.KindTrack:
		return nil, fmt.Errorf("order %s is a %s request, which cannot be cancelled", key, rec.Kind)
	case rec.Phase == order.Closed:
		return nil, usage.WithHint(fmt.Errorf("order %s is closed as %s", key, rec.Outcome), "entrust-worker orders show %s", key)
	}
	id, note := nuid.Next(), ""
	if rec.TrackingID != "" {
		note = "the gateway has it as " + rec.TrackingID
	}
	return &plan{
		request: &entrustbus.Cancel{ID: id, Order: key.ID}, answers: order.Key{Producer: key.Producer, ID: id}, note: note,
		did: func(r *entrustbus.Result) bool { return r.Outcome == entrustbus.OutcomeCancelled },
	}, nil
}
