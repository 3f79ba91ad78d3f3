package usage

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// NoArgs is cobra.NoArgs as a mistake.
func NoArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return WithHint(Errorf("%s takes no arguments, got %q", cmd.CommandPath(), args[0]), "%s --help", cmd.CommandPath())
	}
	return nil
}

// AtLeastOne is cobra.MinimumNArgs as a mistake.
func AtLeastOne(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return WithHint(Errorf("%s: no %s given", cmd.CommandPath(), what), "%s --help", cmd.CommandPath())
		}
		return nil
	}
}

// NeedsVerb is what a group of verbs does by itself.
func NeedsVerb(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return UnknownVerb(cmd, args[0])
	}
	return WithHint(Errorf("%s: no verb given", cmd.CommandPath()), "%s --help", cmd.CommandPath())
}

// UnknownVerb says which verb may have been meant.
func UnknownVerb(cmd *cobra.Command, name string) error {
	cmd.SuggestionsMinimumDistance = 2
	hint := cmd.CommandPath() + " --help lists the verbs"
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		hint = "did you mean " + strings.Join(near, " or ") + "?"
	}
	if !cmd.HasParent() {
		return WithHint(Errorf("unknown verb %q", name), "%s", hint)
	}
	return WithHint(Errorf("%s: unknown verb %q", cmd.CommandPath(), name), "%s", hint)
}

// Complete tells shells the words that a flag takes. It panics where there is no such
// flag.
func Complete(cmd *cobra.Command, flag string, words ...string) {
	if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic("usage: " + err.Error())
	}
}

// CompleteNothing keeps shells from offering files where the verbs of a group take names.
func CompleteNothing(group *cobra.Command) {
	for _, cmd := range group.Commands() {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
}

// NoneEmpty refuses flags that are given without a value, as by a variable that is not
// set: they would choose everything.
func NoneEmpty(flags *pflag.FlagSet, names ...string) error {
	for _, name := range names {
		f := flags.Lookup(name)
		if f == nil || !f.Changed {
			continue
		}
		switch _, span := f.Value.(*Span); {
		case span && f.Value.String() == "":
			return Errorf("--%s must be more than 0", name)
		case f.Value.String() == "" || f.Value.String() == "[]":
			return Errorf("--%s must not be empty", name)
		}
	}
	return nil
}

// AnyChanged reports whether any of the flags was given.
func AnyChanged(flags *pflag.FlagSet, names ...string) bool {
	for _, name := range names {
		if flags.Changed(name) {
			return true
		}
	}
	return false
}
