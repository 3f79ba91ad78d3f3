package orders

import (
	"context"

	"github.com/nats-io/nuid"
	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/order"
)

func resolveCommand(t *terminal.Terminal, dial connect.Dialer) *cobra.Command {
	e := ending{terminal: t, word: "resolve", done: "resolved"}
	cmd := &cobra.Command{
		Use:   "resolve ORDER...",
		Short: "End an order as not issued",
		Long: `Record that the gateway issued nothing for an order that ended without a certificate, such as an unconfirmed one. Its
next generation gets the result failed with the code resolved. A dead replay after that submits the order like a new
one, without the flag possible_duplicate. Look for the order at the gateway first: the worker does not check it.

Without --yes the verb says what it would do, and does nothing. The audit trail names the operator and keeps the text
of --why.`,
		Example: `  entrust-worker orders resolve web.4711
  entrust-worker orders resolve web.4711 --yes --why 'not in the CA database'`,
		Args: usage.AtLeastOne("ORDER"),
		RunE: func(cmd *cobra.Command, args []string) error { return e.run(cmd, dial, args) },
	}
	e.plan = func(_ context.Context, _ *desk, key order.Key, rec order.Stored) (*plan, error) {
		if err := endedWithout(key, rec.Record, e.done); err != nil {
			return nil, err
		}
		body := &entrustbus.Resolve{ID: nuid.Next(), Order: key.ID, Comment: e.why}
		if err := body.Validate(); err != nil {
			return nil, usage.Wrap(err)
		}
		note := "it is " + string(rec.Outcome)
		if rec.TrackingID != "" {
			note += ", and the gateway has it as " + rec.TrackingID
		}
		return &plan{
			request: body, answers: key, generation: rec.Generation + 1, note: note,
			did: func(r *entrustbus.Result) bool { return r.Error != nil && r.Error.Code == order.CodeResolved },
		}, nil
	}
	e.add(cmd)
	return cmd
}
