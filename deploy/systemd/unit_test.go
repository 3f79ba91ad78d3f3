// Package systemd holds the unit of a worker. It has no code but this test, which compares the
// unit with the worker's settings, and has systemd read it where there is one.
package systemd

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const unitFile = "entrust-worker.service"

// unit is the settings of the unit's sections, each name with its values in order; those in
// comments are left out.
func unit(t *testing.T, text string) map[string][]string {
	t.Helper()
	settings := map[string][]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, "[") {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			t.Fatalf("no setting: %q", line)
		}
		settings[name] = append(settings[name], value)
	}
	return settings
}

func read(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(unitFile)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// keys are the worker's environment names and their defaults, as its documentation has them:
// nothing but a command imports a command's configuration.
func keys(t *testing.T) map[string]string {
	t.Helper()
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	row := regexp.MustCompile("(?m)^\\| `[^`]+` \\| (?:`([^`]*)`)? *\\| `([A-Z0-9_]+)` \\|")
	for _, m := range row.FindAllSubmatch(page, -1) {
		found[string(m[2])] = string(m[1])
	}
	return found
}

// systemd reads a number without a unit as seconds.
func seconds(t *testing.T, values []string) time.Duration {
	t.Helper()
	if len(values) != 1 {
		t.Fatalf("got %d values, want one: %v", len(values), values)
	}
	text := values[0]
	if regexp.MustCompile(`^\d+$`).MatchString(text) {
		text += "s"
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestUnitFitsTheWorker(t *testing.T) {
	t.Parallel()
	u := unit(t, read(t))
	const margin = 5 * time.Second
	if stop, drain := seconds(t, u["TimeoutStopSec"]), seconds(t, []string{keys(t)["ENTRUST_WORKER_DRAIN"]}); stop < drain+margin {
		t.Errorf("TimeoutStopSec must exceed drain by %v: %v !> %v", margin, stop, drain)
	}
	for name, want := range map[string][]string{
		"Type":                     {"notify-reload"}, // the worker says when it is ready, and when a reload is over
		"NotifyAccess":             {"main"},
		"RefreshOnReload":          {"credentials"},
		"KillSignal":               {"SIGTERM"},
		"Restart":                  {"on-failure"},
		"RestartPreventExitStatus": {"2"}, // a wrong configuration
		"ExecStart":                {"/usr/local/bin/entrust-worker run"},
		"DynamicUser":              {"yes"},
		"ProtectSystem":            {"strict"},
		"NoNewPrivileges":          {"yes"},
		"CapabilityBoundingSet":    {""},
		"LimitCORE":                {"0"}, // a core dump would hold the key
	} {
		if !slices.Equal(u[name], want) {
			t.Errorf("%s is %v, want %v", name, u[name], want)
		}
	}
}

// Every variable of the unit, also of its commented variants, is a setting of the worker, and
// every credential file that it names is one that is loaded.
func TestUnitVariables(t *testing.T) {
	t.Parallel()
	known := keys(t)
	text := strings.ReplaceAll(read(t), "\n# ", "\n")
	loaded := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^LoadCredential=([^:]+):`).FindAllStringSubmatch(text, -1) {
		loaded[m[1]] = true
	}
	variables := regexp.MustCompile(`(?m)^Environment=([A-Z_0-9]+)=(.*)$`).FindAllStringSubmatch(text, -1)
	if len(variables) < 8 || len(loaded) < 5 {
		t.Fatalf("got %d variables and %d credentials", len(variables), len(loaded))
	}
	for _, m := range variables {
		// A secret has a form by file, which the page says once for all of them.
		_, ok := known[m[1]]
		if _, secret := known[strings.TrimSuffix(m[1], "_FILE")]; !ok && !secret {
			t.Errorf("%s is no setting of the worker", m[1])
		}
		if name, ok := strings.CutPrefix(m[2], "%d/"); ok && !loaded[name] {
			t.Errorf("%s: no credential %q is loaded", m[1], name)
		}
	}
}

// systemd before 260 does not know RefreshOnReload, and before 253 not the type; both go on.
var older = regexp.MustCompile(`Failed to parse service type, ignoring: notify-reload|Unknown key (name )?'RefreshOnReload' in section '?\[?Service\]?'?, ignoring`)

func TestUnitIsVerified(t *testing.T) {
	t.Parallel()
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("there is no systemd-analyze")
	}
	dir := t.TempDir()
	// The binary has to exist; any does.
	text := strings.ReplaceAll(read(t), "/usr/local/bin/entrust-worker", "/bin/true")
	path := filepath.Join(dir, unitFile)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ := exec.CommandContext(t.Context(), analyze, "--man=no", "--generators=no", "verify", path).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, unitFile) && !older.MatchString(line) {
			t.Errorf("systemd says: %s", line)
		}
	}
	out, err = exec.CommandContext(t.Context(), analyze, "security", "--offline=true", "--threshold=20", path).CombinedOutput()
	if err != nil && strings.Contains(string(out), "exposure level") {
		t.Errorf("the exposure is above 2.0: %v\n%s", err, out)
	}
	t.Log(string(out[max(0, len(out)-200):]))
}
