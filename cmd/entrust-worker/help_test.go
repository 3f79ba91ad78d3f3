package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/config"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
)

// eachVerb calls do with every verb that an operator may run.
func eachVerb(t *testing.T, do func(t *testing.T, cmd *cobra.Command)) {
	t.Helper()
	root := newCommand(&terminal.Terminal{In: strings.NewReader(""), Out: &bytes.Buffer{}, Err: &bytes.Buffer{}, Now: time.Now}, config.NewLoader(nil))
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Name() == "completion" {
			return // the library's own
		}
		t.Run(cmd.CommandPath(), func(t *testing.T) { do(t, cmd) })
		for _, next := range cmd.Commands() {
			walk(next)
		}
	}
	walk(root)
}

var (
	flagLine    = regexp.MustCompile(`^ +(-\w, )?--[a-z0-9-]+( [^ ]+)?( {3}|$)`)
	placeholder = regexp.MustCompile(`^ +(?:-\w, )?--[a-z0-9-]+ ([^ ]+)`)
	capitals    = regexp.MustCompile(`^[A-Z][A-Z0-9=-]*$`)
)

// The help of each verb has its own flags alone, with placeholders in capital letters, and
// an example of each verb that does something.
func TestHelpOfEachVerb(t *testing.T) {
	eachVerb(t, func(t *testing.T, cmd *cobra.Command) {
		var out bytes.Buffer
		cmd.SetOut(&out)
		if err := cmd.Help(); err != nil {
			t.Fatal(err)
		}
		text := out.String()
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("its line in the list of verbs is %q", cmd.Short)
		}
		if !cmd.HasSubCommands() && !strings.Contains(cmd.Example, cmd.CommandPath()) {
			t.Errorf("it has no example of itself: %q", cmd.Example)
		}
		_, flags, _ := strings.Cut(text, "\nFlags:\n")
		flags, _, _ = strings.Cut(flags, "\n\n")
		for line := range strings.Lines(flags) {
			if line = strings.TrimRight(line, "\n"); len(line) > 100 {
				t.Errorf("a line of the flags has %d columns: %s", len(line), line)
			}
			if !flagLine.MatchString(line) {
				continue // it goes on with the line before
			}
			if name := placeholder.FindStringSubmatch(line); name != nil && !capitals.MatchString(name[1]) {
				t.Errorf("the placeholder %s is not in capital letters: %s", name[1], line)
			}
			if strings.Contains(line, "--server") || strings.Contains(line, "--log-level") {
				t.Errorf("a flag of every verb is in its help: %s", line)
			}
		}
	})
}
