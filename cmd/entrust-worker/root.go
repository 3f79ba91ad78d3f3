package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// app is what every verb has: its environment and streams.
type app struct {
	environ  []string
	in       io.Reader
	out, err io.Writer
}

// run runs the program and returns its exit code. It uses nothing of the process but
// what it is given, and files.
func run(ctx context.Context, args, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot(&app{environ: environ, in: stdin, out: stdout, err: stderr})
	root.SetArgs(args)
	return report(root.ExecuteContext(ctx), stderr)
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "entrust-worker",
		Short: "Carries certificate requests from NATS JetStream to the Entrust CA Gateway",
		Long: `entrust-worker takes certificate requests from NATS JetStream, has the Entrust
CA Gateway carry them out, and publishes one result for each.

Configuration, lowest first: defaults, a YAML file (--config or
ENTRUST_WORKER_CONFIG), the environment, flags. Every key is a flag too, listed
here or not; entrust-worker config --keys shows all of them.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.`,
		Example: `  export CERTCTL_ENTRUST_API_URL=https://gateway.example/cagw CERTCTL_ENTRUST_CA_ID=ca-1
  export CERTCTL_ENTRUST_CLIENT_CERT_PATH=client.crt CERTCTL_ENTRUST_CLIENT_KEY_PATH=client.key
  entrust-worker check
  entrust-worker run --provision`,
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
	}
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return withHint(usagef("no verb given"), "entrust-worker --help")
		}
		hint := "entrust-worker --help lists the verbs"
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			hint = "did you mean " + strings.Join(near, " or ") + "?"
		}
		return withHint(usagef("unknown verb %q", args[0]), "%s", hint)
	}
	root.SuggestionsMinimumDistance = 2
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetVersionTemplate("entrust-worker {{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return withHint(&usageError{err}, "%s --help", cmd.CommandPath())
	})
	addFlags(root.PersistentFlags())

	root.AddCommand(
		runCommand(a),
		checkCommand(a),
		provisionCommand(a),
		requestCommand(a),
		ordersCommand(a),
		deadCommand(a),
		configCommand(a),
		versionCommand(a),
	)
	return root
}

// noArgs is cobra.NoArgs as a usage error.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return withHint(usagef("%s takes no arguments, got %q", cmd.CommandPath(), args[0]), "%s --help", cmd.CommandPath())
	}
	return nil
}

// bus loads the configuration for a verb that needs NATS and the streams alone.
func (a *app) bus(cmd *cobra.Command) (*settings, error) {
	s, err := loadConfig(cmd.Flags(), a.environ)
	if err != nil {
		return nil, err
	}
	return s, errors.Join(s.validateBus(), s.half())
}

// worker loads the configuration for a verb that needs all of it.
func (a *app) worker(cmd *cobra.Command) (*settings, error) {
	s, err := loadConfig(cmd.Flags(), a.environ)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(s.validate(), s.half()); err != nil {
		if s.Gateway.URL == "" || s.Gateway.CAID == "" {
			return nil, withHint(err, gatewayHint)
		}
		return nil, withHint(err, "entrust-worker config shows every value and where it came from")
	}
	return s, nil
}

// printf writes to standard output. A reader that went away is nothing to report.
func (a *app) printf(format string, args ...any) { fmt.Fprintf(a.out, format, args...) }
