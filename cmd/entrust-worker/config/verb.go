package config

import (
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
)

// Command is the verb that prints the configuration.
func Command(t *terminal.Terminal, loader *Loader) *cobra.Command {
	var asJSON, list bool
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Print the effective configuration and where each value came from",
		Long: `Print the effective configuration and where each value came from. Secrets are
redacted. If a value is wrong, the verb reports it below, and the exit code is 2.`,
		Example: `  entrust-worker config
  entrust-worker config --config worker.yaml --json | jq '.[] | select(.origin != "default")'
  entrust-worker config --keys`,
		Args: usage.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if list {
				return printKeys(t, asJSON)
			}
			s, err := loader.Load(cmd.Flags())
			if err != nil {
				return err
			}
			if err := printValues(t, s, asJSON); err != nil {
				return err
			}
			return s.CheckWorker()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&list, "keys", false, "list every key, its environment name and its flag")
	return cmd
}

func printValues(t *terminal.Terminal, s *Settings, asJSON bool) error {
	type entry struct {
		Key    string `json:"key"`
		Value  string `json:"value"`
		Origin string `json:"origin"`
	}
	var all []entry
	for _, k := range Keys() {
		all = append(all, entry{k.Path, s.Shown(k), s.from(k)})
	}
	if asJSON {
		return terminal.PrintIndented(t.Out, all)
	}
	w := tabwriter.NewWriter(t.Out, 0, 0, 2, ' ', 0)
	for _, e := range all {
		if e.Value == "" {
			e.Value = "-"
		}
		if _, err := w.Write([]byte(e.Key + "\t" + e.Value + "\t" + e.Origin + "\n")); err != nil {
			return err
		}
	}
	return w.Flush()
}

func printKeys(t *terminal.Terminal, asJSON bool) error {
	type entry struct {
		Key  string `json:"key"`
		Env  string `json:"env"`
		Flag string `json:"flag"`
		Doc  string `json:"doc"`
	}
	var all []entry
	for _, k := range KeysAndForms() {
		all = append(all, entry{k.Path, k.Env, "--" + k.Flag, k.Doc})
	}
	if asJSON {
		return terminal.PrintIndented(t.Out, all)
	}
	w := tabwriter.NewWriter(t.Out, 0, 0, 2, ' ', 0)
	for _, e := range all {
		if _, err := w.Write([]byte(e.Key + "\t" + e.Env + "\t" + e.Flag + "\n")); err != nil {
			return err
		}
	}
	return w.Flush()
}
