package policy

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// ask has a worker say what its policy says of a request.
func ask(cmd *cobra.Command, t *terminal.Terminal, dial connect.Dialer, producer string, asJSON bool, body entrustbus.Request) error {
	return dial.Work(cmd, func(ctx context.Context, bus *connect.Bus) error {
		client, err := entrustbus.New(bus.Conn, entrustbus.ClientConfig{Producer: producer, Subjects: bus.Subjects, JetStream: bus.JS})
		if err != nil {
			return err
		}
		ctx, cancel := bus.Step(ctx)
		defer cancel()
		answer, err := client.Policy(ctx, body)
		if err != nil {
			return err
		}
		if asJSON {
			if err := terminal.PrintIndented(t.Out, answer); err != nil {
				return err
			}
		} else {
			verdict := "allowed"
			switch {
			case !answer.Allowed:
				verdict = "refused: " + answer.Message
			case answer.Policy == "":
				verdict = "allowed: the worker has no policy"
			case answer.ValiditySeconds > 0:
				verdict = cutTo(answer.ValiditySeconds)
			}
			if answer.MustSign && answer.Allowed {
				verdict += ", if the producer signs it"
			}
			for _, w := range answer.Warnings {
				fmt.Fprintln(t.Err, "warning: "+w)
			}
			t.Printf("%s\n", verdict)
		}
		if !answer.Allowed {
			return usage.Code(usage.Failed)
		}
		return nil
	})
}

// cutTo is the verdict about a request whose validity is cut.
func cutTo(seconds int64) string {
	return fmt.Sprintf("allowed, with the validity cut to %d seconds", seconds)
}
