package main

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

func requestCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "request",
		Short: "Send requests as a producer, and wait for their results",
		Long: `Send requests as a producer, and wait for their results. Everything is checked before anything is published.

The exit code is 1 when a result that was waited for is not what was asked for.`,
		Args: cobra.ArbitraryArgs,
		RunE: needsVerb,
	}
	cmd.AddCommand(requestIssueCommand(a), requestRevokeCommand(a), requestTrackCommand(a), requestCancelCommand(a))
	completeNothing(cmd)
	for _, c := range cmd.Commands() {
		switch c.Name() {
		case "issue":
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
	labels                 []string
	sending

	flags *pflag.FlagSet
}

func (f *requestFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	f.flags = flags
	flags.StringVar(&f.producer, "producer", "cli", "`name` to send the request as")
	flags.StringVar(&f.id, "id", "", "`id` of the request; the same again is no second order. Default a new one")
	flags.StringVar(&f.encoding, "encoding", "msgpack", "`msgpack` or json, on the bus")
	flags.StringArrayVar(&f.labels, "label", nil, "`key=value` that the result carries again; may be repeated")
	flags.BoolVar(&f.wait, "wait", false, "wait for the result")
	flags.Var(&f.giveUp, "give-up-after", "wait no longer than this, while the order goes on; implies --wait")
	flags.BoolVar(&f.json, "json", false, "print one JSON object per line: the results with --wait, else what was published")
	completeWith(cmd, "encoding", "msgpack", "json")
}

// addOut declares the flag for certificates.
func (f *requestFlags) addOut(flags *pflag.FlagSet) {
	flags.StringVar(&f.out, "out", "", "write certificate and chain, .pem and .chain.pem, into this `folder`; implies --wait")
}

// check reads what can be read without the bus, and returns the labels.
func (f *requestFlags) check() (map[string]string, error) {
	if err := noneEmpty(f.flags, "give-up-after", "out"); err != nil {
		return nil, err
	}
	f.wait = f.wait || f.out != "" || f.giveUp > 0
	if !entrustbus.ValidToken(f.producer) {
		return nil, usagef("--producer must be 1 to 64 letters, digits, _ and -, is %q", f.producer)
	}
	if f.id != "" && !entrustbus.ValidToken(f.id) {
		return nil, usagef("--id must be 1 to 64 letters, digits, _ and -, is %q", f.id)
	}
	encodings := map[string]entrustbus.Encoding{"msgpack": entrustbus.EncodingMsgpack, "json": entrustbus.EncodingJSON}
	enc, ok := encodings[f.encoding]
	if !ok {
		return nil, usagef("--encoding must be %s, is %q", strings.Join(slices.Sorted(maps.Keys(encodings)), " or "), f.encoding)
	}
	f.sending.encoding = enc
	if len(f.labels) == 0 {
		return nil, nil
	}
	labels := map[string]string{}
	for _, l := range f.labels {
		key, value, ok := strings.Cut(l, "=")
		if !ok || key == "" {
			return nil, usagef("--label must be key=value, is %q", l)
		}
		labels[key] = value
	}
	return labels, nil
}

// seconds is a duration that the contract counts in whole seconds.
func seconds(flag string, d spanFlag) (int64, error) {
	if t := time.Duration(d); t%time.Second != 0 {
		return 0, usagef("--%s must be whole seconds, is %s", flag, t)
	}
	return int64(time.Duration(d) / time.Second), nil
}
