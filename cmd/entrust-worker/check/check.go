// Package check is the verb that checks NATS, the streams, the key pair and the gateway.
package check

import (
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/config"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// States of a check, in the words and with the numbers of Nagios.
const (
	stateOK = iota
	stateWarning
	stateCritical
	stateUnknown // it could not be tried
)

// expiryWarning is how long before its end a client certificate is warned of.
const expiryWarning = 14 * 24 * time.Hour

// skewWarning is how far apart the clocks of host and server may be without a warning.
const skewWarning = 10 * time.Second

// checked is what became of one check.
type checked struct {
	Name     string            `json:"name"`
	State    string            `json:"state"`
	Detail   string            `json:"detail"`
	Findings []streams.Finding `json:"findings,omitempty"`
	Seconds  float64           `json:"seconds"`

	state int
}

// Command is the verb.
func Command(t *terminal.Terminal, loader *config.Loader) *cobra.Command {
	var form string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check NATS, the streams, the key pair and the gateway",
		Long: `Check NATS, the streams, the clocks, the key pair and the gateway, one line each.
The verb changes nothing. No check takes longer than 10 s.

Exit code 0 if all checks passed, 1 if one failed, 2 if the configuration is wrong.
With --format nagios the exit codes are those of Nagios: 0 OK, 1 WARNING, 2 CRITICAL,
and 3 UNKNOWN if the configuration is wrong.`,
		Example: `  entrust-worker check
  entrust-worker check --config worker.yaml --json
  entrust-worker check --format nagios`,
		Args: usage.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON {
				form = "json"
			}
			if form != "text" && form != "json" && form != "nagios" {
				return usage.Errorf("--format must be text, json or nagios, is %q", form)
			}
			s, err := loader.Worker(cmd.Flags())
			if err != nil {
				return unknown(t, form, err)
			}
			c := checker{Settings: s, scrub: loader.Scrubber()}
			return report(t, form, c.all(cmd.Context()))
		},
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return unknown(t, form, cmd.Root().FlagErrorFunc()(cmd, err))
	})
	cmd.Flags().StringVar(&form, "format", "text", "print `form` text, json or nagios")
	usage.Complete(cmd, "format", "text", "json", "nagios")
	cmd.Flags().BoolVar(&asJSON, "json", false, "the same as --format json")
	return cmd
}

// unknown reports to a monitor that nothing could be checked: Nagios reads standard
// output, and takes 2 for a failed check.
func unknown(t *terminal.Terminal, form string, err error) error {
	if form != "nagios" {
		return err
	}
	text := strings.ReplaceAll(strings.ReplaceAll(err.Error(), "\n", "; "), "|", "/")
	t.Printf("ENTRUST-WORKER UNKNOWN - %s\n", text)
	return usage.Code(stateUnknown)
}
