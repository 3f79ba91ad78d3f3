package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
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
		return unknownVerb(cmd, args[0])
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetVersionTemplate("entrust-worker {{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return withHint(&usageError{plainFlagError(err)}, "%s --help", cmd.CommandPath())
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
	root.SetHelpCommand(helpCommand(root))
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "completion" {
			cmd.Args, cmd.RunE = cobra.ArbitraryArgs, needsVerb
		}
	}
	completeKeys(root)
	return root
}

// helpCommand is cobra's, but for its exit code where there is no such verb.
func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [VERB...]",
		Short: "Help about a verb",
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil {
				return &usageError{err}
			}
			if len(rest) > 0 {
				return unknownVerb(cmd, rest[0])
			}
			cmd.InitDefaultHelpFlag()
			return cmd.Help()
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			var names []string
			if cmd, _, err := root.Find(args); err == nil {
				for _, c := range cmd.Commands() {
					names = append(names, c.Name())
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
}

// unknownVerb says which verb may have been meant.
func unknownVerb(cmd *cobra.Command, name string) error {
	cmd.SuggestionsMinimumDistance = 2
	hint := cmd.CommandPath() + " --help lists the verbs"
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		hint = "did you mean " + strings.Join(near, " or ") + "?"
	}
	if !cmd.HasParent() {
		return withHint(usagef("unknown verb %q", name), "%s", hint)
	}
	return withHint(usagef("%s: unknown verb %q", cmd.CommandPath(), name), "%s", hint)
}

// parserWords are what the flag library quotes of Go's parsers.
var parserWords = regexp.MustCompile(`strconv\.Parse(\w+): parsing "[^"]*": .*`)

// plainFlagError says what a flag's value must be, instead of which parser refused it.
func plainFlagError(err error) error {
	text := parserWords.ReplaceAllStringFunc(err.Error(), func(found string) string {
		switch parserWords.FindStringSubmatch(found)[1] {
		case "Bool":
			return "must be true or false"
		case "Int", "Uint":
			return "must be a whole number"
		}
		return "must be a number"
	})
	return errors.New(text)
}

// completeKeys tells shells the words that keys of the configuration take.
func completeKeys(root *cobra.Command) {
	completeWith(root, "gateway-dialect", "auto", "certctl", "cagw")
	completeWith(root, "gateway-approval", approvalUnknown, approvalNever)
	completeWith(root, "on-lost-reply", onLostReplyHold, onLostReplyResubmit)
	completeWith(root, "log-level", "debug", "info", "warn", "error")
	completeWith(root, "log-format", "auto", "text", "json")
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
	return s, withHint(s.sourced(errors.Join(s.validateBus(), s.half())), "entrust-worker config shows every value and where it came from")
}

// worker loads the configuration for a verb that needs all of it.
func (a *app) worker(cmd *cobra.Command) (*settings, error) {
	s, err := loadConfig(cmd.Flags(), a.environ)
	if err != nil {
		return nil, err
	}
	if err := s.sourced(errors.Join(s.validate(), s.half())); err != nil {
		if s.Gateway.URL == "" || s.Gateway.CAID == "" {
			return nil, withHint(err, gatewayHint)
		}
		return nil, withHint(err, "entrust-worker config shows every value and where it came from")
	}
	return s, nil
}

// printf writes to standard output. A reader that went away is nothing to report.
func (a *app) printf(format string, args ...any) { fmt.Fprintf(a.out, format, args...) }
