// Package version is what this binary calls itself.
package version

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// Build says what a binary was made of.
type Build struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"` // "" where neither linker nor module system knows it
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
	// MinNATS is the oldest nats-server that the worker runs on.
	MinNATS string `json:"nats_server_min"`
}

// Of returns what is known of the binary: the release and the revision, where the linker
// set them, else what the module system knows.
func Of(release, revision string) Build {
	b := Build{Version: release, Commit: revision, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH, MinNATS: streams.MinServer}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return b.fill(info)
}

// fill adds what the module system knows.
func (b Build) fill(info *debug.BuildInfo) Build {
	known, changed := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			known = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = "+changed"
		}
	}
	if b.Commit == "" && known != "" {
		b.Commit = known + changed
	}
	switch {
	case b.Version != "":
	case info.Main.Version != "" && info.Main.Version != "(devel)":
		b.Version = info.Main.Version
	case b.Commit != "":
		b.Version = "devel-" + b.Commit[:min(12, len(b.Commit))]
		if changed != "" {
			b.Version += changed
		}
	default:
		b.Version = "devel"
	}
	return b
}

// Command is the verb that prints the version.
func Command(t *terminal.Terminal, b Build) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version, the commit, and the oldest nats-server that the worker runs on",
		Example: `  entrust-worker version
  entrust-worker version --json | jq -r .version`,
		Args: usage.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if asJSON {
				return terminal.PrintJSON(t.Out, b)
			}
			commit := b.Commit
			if commit == "" {
				commit = "unknown"
			}
			t.Printf("entrust-worker %s\n", b.Version)
			return terminal.PrintFields(t.Out, []terminal.Field{
				{"commit", commit},
				{"built with", b.Go + " for " + b.OS + "/" + b.Arch},
				{"nats-server", b.MinNATS + " or later"},
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}
