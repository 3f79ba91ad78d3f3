package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/template"
	"time"

	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/audit"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/check"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/config"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/dead"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/events"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/gateway"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/incident"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/keys"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/orders"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/policy"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/provision"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/renew"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/request"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/run"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/status"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/suggest"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/suspend"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/version"
)

// execute runs the program and returns its exit code. It uses nothing of the process but
// what it is given, and files.
func execute(ctx context.Context, args, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	t := &terminal.Terminal{In: stdin, Out: stdout, Err: stderr, Environ: environ, Now: time.Now}
	loader := config.NewLoader(environ)
	root := newCommand(t, loader)
	root.SetArgs(args)
	return usage.Report(root.ExecuteContext(ctx), stderr, loader.Scrubber().Scrub)
}

// newCommand is the command with its verbs.
func newCommand(t *terminal.Terminal, loader *config.Loader) *cobra.Command {
	build := version.Of(release, revision)
	root := newRoot(t, build)
	dial := connect.NewDialer(loader)
	root.AddCommand(
		run.Command(t, loader, build.Version),
		check.Command(t, loader),
		provision.Command(t, loader),
		request.Command(t, loader, dial),
		status.Command(t, dial),
		orders.Command(t, dial),
		events.Command(t, dial),
		dead.Command(t, dial),
		gateway.Command(t, loader),
		policy.Command(t, loader, dial),
		suspend.Command(t, dial),
		suspend.Resume(t, dial),
		keys.Command(t, dial),
		audit.Command(t, dial),
		incident.Command(t, dial),
		renew.Command(t, loader, dial),
		config.Command(t, loader),
		config.OptionsCommand(t),
		version.Command(t, build),
	)
	root.SetHelpCommand(helpCommand(root))
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "completion" {
			cmd.Args, cmd.RunE = cobra.ArbitraryArgs, usage.NeedsVerb
		}
	}
	config.CompleteFlags(root)
	suggest.Add(root, dial)
	return root
}

// newRoot is the command without its verbs.
func newRoot(t *terminal.Terminal, build version.Build) *cobra.Command {
	root := &cobra.Command{
		Use:   "entrust-worker",
		Short: "Carry certificate requests from NATS JetStream to the Entrust CA Gateway",
		Long: `entrust-worker takes certificate requests from NATS JetStream, sends them to the
Entrust CA Gateway, and publishes one result for each.

The configuration has four layers; a later one overrides an earlier one: defaults, a
YAML file (--config or ENTRUST_WORKER_CONFIG), the environment, flags. Every key is a
flag of every verb: entrust-worker options lists the flags, entrust-worker config
shows the values.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.`,
		Example: `  export CERTCTL_ENTRUST_API_URL=https://gateway.example/cagw CERTCTL_ENTRUST_CA_ID=ca-1
  export CERTCTL_ENTRUST_CLIENT_CERT_PATH=client.crt CERTCTL_ENTRUST_CLIENT_KEY_PATH=client.key
  entrust-worker check
  entrust-worker run --provision`,
		Version:       build.Version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
	}
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usage.WithHint(usage.Errorf("no verb given"), "entrust-worker --help")
		}
		return usage.UnknownVerb(cmd, args[0])
	}
	root.SetIn(t.In)
	root.SetOut(t.Out)
	root.SetErr(t.Err)
	root.SetVersionTemplate("entrust-worker {{.Version}}\n")
	root.SetFlagErrorFunc(usage.FlagError)
	root.SetUsageFunc(printUsage)
	config.AddFlags(root.PersistentFlags())
	return root
}

// printUsage fills in usageTemplate. Functions that are added to cobra's own templates are
// those of the whole process.
func printUsage(cmd *cobra.Command) error {
	t, err := template.New("usage").Funcs(template.FuncMap{
		"rpad":     func(s string, width int) string { return fmt.Sprintf("%-*s", width, s) },
		"ownFlags": func(cmd *cobra.Command) string { return strings.TrimRight(usage.Flags(cmd.LocalFlags()), " \n") },
	}).Parse(usageTemplate)
	if err != nil {
		return err
	}
	return t.Execute(cmd.OutOrStderr(), cmd)
}

// usageTemplate shows a verb's own flags, and says where those of every verb are.
const usageTemplate = `Usage:{{if .HasAvailableSubCommands}}
  {{.CommandPath}} VERB{{else}}
  {{.UseLine}}{{end}}{{if .HasExample}}

Examples:
{{.Example}}{{end}}{{if .HasAvailableSubCommands}}

Verbs:{{range .Commands}}{{if (or .IsAvailableCommand (eq .Name "help"))}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}{{if and .HasParent .HasAvailableLocalFlags}}

Flags:
{{ownFlags .}}{{end}}

entrust-worker options lists the flags of every verb, such as --config, --server,
--context and --creds.
`

// helpCommand is cobra's, but for its exit code where there is no such verb.
func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [VERB...]",
		Short: "Help about a verb",
		Example: `  entrust-worker help orders ls
  entrust-worker help options`,
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil {
				return usage.Wrap(err)
			}
			if len(rest) > 0 {
				return usage.UnknownVerb(cmd, rest[0])
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
