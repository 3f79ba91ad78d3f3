// Package request is the verbs that send requests as a producer: issue, revoke, track and
// cancel; and validate, which sends none.
package request

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/config"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// Command is the group of verbs.
func Command(t *terminal.Terminal, loader *config.Loader, dial connect.Dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "request",
		Short: "Send requests as a producer, and wait for their results",
		Long: `Send requests as a producer, and wait for their results. The verbs check every request before they publish the first.

The exit code is 1 if --wait brings another result than the one asked for.`,
		Args: cobra.ArbitraryArgs,
		RunE: usage.NeedsVerb,
	}
	cmd.AddCommand(issueCommand(t, dial), revokeCommand(t, dial), trackCommand(t, dial), cancelCommand(t, dial), validateCommand(t, loader, dial))
	usage.CompleteNothing(cmd)
	for _, c := range cmd.Commands() {
		switch c.Name() {
		case "issue", "validate":
			c.ValidArgsFunction = nil // files
		case "track":
			c.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
				if len(args) == 1 {
					return nil, cobra.ShellCompDirectiveDefault
				}
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
		}
	}
	return cmd
}

// requestFlags are the flags of every request.
type requestFlags struct {
	producer, id, encoding string
	keyFile, keyID         string
	labels                 []string
	sending

	flags *pflag.FlagSet
}

func (f *requestFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	f.flags = flags
	flags.StringVar(&f.producer, "producer", "cli", "`name` to send the request as")
	flags.StringVar(&f.id, "id", "", "`id` of the request; the same id and content again make no second order. Default: a new id")
	flags.StringVar(&f.encoding, "encoding", "msgpack", "`encoding` on the bus: msgpack or json")
	flags.StringArrayVar(&f.labels, "label", nil, "label `key=value`, which the result repeats; may be repeated")
	flags.BoolVar(&f.Wait, "wait", false, "wait for the result")
	flags.Var(&f.GiveUp, "give-up-after", "wait no longer than this; the order goes on. Implies --wait")
	flags.BoolVar(&f.JSON, "json", false, "print one JSON object per line: the results with --wait, otherwise what was published")
	usage.Complete(cmd, "encoding", "msgpack", "json")
	f.addSigning()
}

// addOut declares the flag for certificates.
func (f *requestFlags) addOut(flags *pflag.FlagSet) {
	flags.StringVar(&f.out, "out", "", "write certificate and chain, .pem and .chain.pem, into this `folder`; implies --wait")
}

// check reads what can be read without the bus, and returns the labels.
func (f *requestFlags) check(t *terminal.Terminal) (map[string]string, error) {
	if err := usage.NoneEmpty(f.flags, "give-up-after", "out"); err != nil {
		return nil, err
	}
	f.Wait = f.Wait || f.out != "" || f.GiveUp > 0
	if !entrustbus.ValidToken(f.producer) {
		return nil, usage.Errorf("--producer must be 1 to 64 letters, digits, _ and -, is %q", f.producer)
	}
	if f.id != "" && !entrustbus.ValidToken(f.id) {
		return nil, usage.Errorf("--id must be 1 to 64 letters, digits, _ and -, is %q", f.id)
	}
	encodings := map[string]entrustbus.Encoding{"msgpack": entrustbus.EncodingMsgpack, "json": entrustbus.EncodingJSON}
	enc, ok := encodings[f.encoding]
	if !ok {
		return nil, usage.Errorf("--encoding must be %s, is %q", strings.Join(slices.Sorted(maps.Keys(encodings)), " or "), f.encoding)
	}
	f.sending.Encoding = enc
	if err := f.readSigning(t); err != nil {
		return nil, err
	}
	if len(f.labels) == 0 {
		return nil, nil
	}
	labels := map[string]string{}
	for _, l := range f.labels {
		key, value, ok := strings.Cut(l, "=")
		if !ok || key == "" {
			return nil, usage.Errorf("--label must be key=value, is %q", l)
		}
		labels[key] = value
	}
	return labels, nil
}

// seconds is a duration that the contract counts in whole seconds.
func seconds(flag string, d usage.Span) (int64, error) {
	if t := time.Duration(d); t%time.Second != 0 {
		return 0, usage.Errorf("--%s must be whole seconds, is %s", flag, t)
	}
	return int64(time.Duration(d) / time.Second), nil
}
