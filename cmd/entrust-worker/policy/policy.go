// Package policy is the verbs about the policy: who may ask for what.
package policy

import (
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/config"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/internal/policy"
	"github.com/entrust-worker/entrust-worker/internal/policyfile"
)

// Command is the group of verbs.
func Command(t *terminal.Terminal, loader *config.Loader, dial connect.Dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Show the rules of a producer, and test requests against them",
		Long: `Show the rules of a producer, and test requests against them. The policy is the file that --policy-file or
the configuration names. The verbs send nothing to the gateway; only test --ask asks NATS.`,
		Args: cobra.ArbitraryArgs,
		RunE: usage.NeedsVerb,
	}
	cmd.AddCommand(showCommand(t, loader), testCommand(t, loader, dial))
	return cmd
}

// read reads the configuration and the policy file that it names.
func read(cmd *cobra.Command, loader *config.Loader) (*config.Settings, *policy.Policy, error) {
	s, err := loader.Load(cmd.Flags())
	if err != nil {
		return nil, nil, err
	}
	if s.Policy.File == "" {
		return nil, nil, usage.WithHint(usage.Errorf("no policy file is configured"), "name it with --policy-file")
	}
	p, err := policyfile.Read(s.Policy.File, s.Streams.OrdersMaxAge)
	return s, p, usage.Wrap(err)
}

func showCommand(t *terminal.Terminal, loader *config.Loader) *cobra.Command {
	return &cobra.Command{
		Use:   "show [PRODUCER]",
		Short: "Show the rules of a producer, or which producers have rules",
		Example: `  entrust-worker policy show --policy-file policy.yaml
  entrust-worker policy show shop`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, p, err := read(cmd, loader)
			if err != nil {
				return err
			}
			if len(args) == 0 {
				t.Printf("policy %s, producers with rules: %s\n", policyfile.Name(p), strings.Join(append(p.Producers(), "no other"), ", "))
				return nil
			}
			rules, ok := p.Rules(args[0])
			if !ok {
				return usage.WithHint(usage.Errorf("the policy has no rules for producer %q: it may ask for nothing", args[0]), "entrust-worker policy show lists the producers with rules")
			}
			if rules.Keys == nil {
				rules.Keys = policy.Keys()
			}
			text, err := yaml.Marshal(rules)
			t.Printf("# policy %s, producer %s\n%s", policyfile.Name(p), args[0], text)
			return err
		},
	}
}
