package orders

import (
	"context"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/request"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/entrustbus"
)

func cancelCommand(t *terminal.Terminal, dial connect.Dialer) *cobra.Command {
	var producer string
	how := request.Sending{Operator: true}
	noWait := false
	cmd := &cobra.Command{
		Use:   "cancel ORDER...",
		Short: "Stop waiting for an order",
		Long: `Stop waiting for an order, by an operator's cancel request in its producer's name. The order ends as cancelled; the
worker logs what the gateway issues for it later, and request track fetches it. The worker
tells the gateway nothing.`,
		Example: `  entrust-worker orders cancel web.4711
  entrust-worker orders cancel web.4711 --give-up-after 1m`,
		Args: usage.AtLeastOne("ORDER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			keys, err := Keys(args, producer)
			if err != nil {
				return err
			}
			if err := usage.NoneEmpty(cmd.Flags(), "give-up-after"); err != nil {
				return err
			}
			if how.Wait = !noWait; noWait && how.GiveUp > 0 {
				return usage.Errorf("--give-up-after and --no-wait exclude each other")
			}
			var stay []nats.Option
			if how.Wait {
				stay = connect.Staying(t.Err)
			}
			return dial.Work(cmd, func(ctx context.Context, bus *connect.Bus) error {
				d := newDesk(bus)
				s := request.NewSender(t, how)
				for _, key := range keys {
					look, cancel := d.Step(ctx)
					_, err := d.record(look, key)
					cancel()
					if err != nil {
						return err
					}
					s.Add(key.Producer, key.String(), &entrustbus.Cancel{ID: nuid.Next(), Order: key.ID})
				}
				return s.Send(ctx, bus)
			}, stay...)
		},
	}
	cmd.Flags().StringVar(&producer, "producer", "", "`producer` of orders that are named by their id alone")
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "do not wait for the worker's answer")
	cmd.Flags().Var(&how.GiveUp, "give-up-after", "do not wait longer than this")
	cmd.Flags().BoolVar(&how.JSON, "json", false, "print one JSON object per line")
	return cmd
}
