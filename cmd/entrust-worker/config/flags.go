package config

import (
	"reflect"
	"strings"
	"time"

	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/internal/consumer"
)

// AddFlags declares a flag for each key. Shells complete those that most people need.
func AddFlags(flags *pflag.FlagSet) {
	flags.String("config", "", "YAML configuration `file` ("+configEnv+")")
	defaults := reflect.ValueOf(Default())
	for _, k := range KeysAndForms() {
		flags.StringP(k.Flag, k.short, "", k.Doc+" ("+k.Env+")")
		f := flags.Lookup(k.Flag)
		f.Annotations = map[string][]string{usage.Placeholder: {k.placeholder()}}
		f.Hidden = !k.show
		if k.kind.Kind() == reflect.Bool {
			f.NoOptDefVal = "true"
		}
		if k.fileOf != "" {
			continue
		}
		if def := format(defaults.FieldByIndex(k.index)); def != "" {
			f.Usage += " Default " + def + "."
		}
	}
}

// placeholder is what the value of the key's flag is called in the help.
func (k Key) placeholder() string {
	switch {
	case k.kind == reflect.TypeFor[time.Duration]():
		return "DURATION"
	case k.kind.Kind() == reflect.Int, k.kind.Kind() == reflect.Float64:
		return "NUMBER"
	case k.kind == reflect.TypeFor[Size]():
		return "SIZE"
	case k.fileOf != "", k.secret == "file", strings.HasPrefix(k.Doc, "Path of"):
		return "FILE"
	case strings.HasSuffix(k.Path, ".url"):
		return "URL"
	case strings.HasSuffix(k.Path, "_id"):
		return "ID"
	}
	return "TEXT"
}

// CompleteFlags tells shells the words that keys take.
func CompleteFlags(root *cobra.Command) {
	usage.Complete(root, "gateway-dialect", "auto", "certctl", "cagw")
	usage.Complete(root, "gateway-poll", "auto", "enrollment", "events")
	usage.Complete(root, "gateway-approval", ApprovalUnknown, ApprovalNever)
	usage.Complete(root, "gateway-issue-crl", consumer.CRLEach, consumer.CRLBulk, consumer.CRLRequest)
	usage.Complete(root, "gateway-unverified-keys", UnverifiedPass, UnverifiedRefuse)
	usage.Complete(root, "on-lost-reply", Hold, Resubmit)
	usage.Complete(root, "on-rollback", Lookup, Hold, Resubmit)
	usage.Complete(root, "log-level", "debug", "info", "warn", "error")
	usage.Complete(root, "log-format", "auto", "text", "json")
}

// OptionsCommand lists the flags that every verb takes.
func OptionsCommand(t *terminal.Terminal) *cobra.Command {
	return &cobra.Command{
		Use:     "options",
		Aliases: []string{"flags"},
		Short:   "List the configuration flags, which every verb takes",
		Example: `  entrust-worker options
  entrust-worker options | grep -A3 -e --gateway-approval`,
		Args: usage.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			listed := pflag.NewFlagSet("options", pflag.ContinueOnError)
			AddFlags(listed)
			listed.VisitAll(func(f *pflag.Flag) { f.Hidden = false })
			t.Printf("%s", usage.Flags(listed))
			return nil
		},
	}
}

func flagLayer(all []Key, flags *pflag.FlagSet) (layer, error) {
	byFlag := map[string]Key{}
	for _, k := range all {
		byFlag[k.Flag] = k
	}
	k := koanf.New(".")
	err := k.Load(posflag.ProviderWithFlag(flags, ".", k, func(f *pflag.Flag) (string, any) {
		if !f.Changed {
			return "", nil
		}
		return byFlag[f.Name].Path, f.Value.String()
	}), nil)
	return layer{k: k, origin: func(k Key) string { return "flag --" + k.Flag }}, err
}
