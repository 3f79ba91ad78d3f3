// Package edges tests which packages of this module may import each other and other
// modules. It has no other code.
package edges

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/entrust-worker/entrust-worker"

// rule forbids imports. A name stands for the package and all packages below it. A name
// without a dot in its first part belongs to this module.
type rule struct {
	name string
	// from are the restricted packages; except are exceptions among them.
	from, except []string
	// never are the packages that they must not import.
	never []string
	// only, if not nil, are the packages of this module that they may import, besides
	// their own parts.
	only []string
	// deep includes indirect imports; then only shipped code counts. Otherwise imports of
	// tests count too, unless shipped is set.
	deep, shipped bool
}

func rules() []rule {
	const (
		natsServer = "github.com/nats-io/nats-server"
		all        = ""
	)
	return []rule{
		{name: "the names are a leaf of the standard library", from: []string{"entrustbus/san"},
			never: []string{"internal", "cmd", "entrustbus", "integration", "github.com", "golang.org", "go.opentelemetry.io"}, shipped: true},
		{name: "order imports the contract and the schedule", from: []string{"internal/order"}, only: []string{"entrustbus", "internal/pollsched"}, shipped: true},
		{name: "order is pure", from: []string{"internal/order"}, never: []string{"context", "net", "net/http", "os", "log/slog", "github.com/nats-io"}, shipped: true},
		{name: "policy imports the contract", from: []string{"internal/policy"}, only: []string{"entrustbus"}, shipped: true},
		{name: "status imports its sources", from: []string{"internal/status"}, shipped: true,
			only: []string{"entrustbus", "internal/gateway", "internal/order", "internal/policy", "internal/policyfile"}},
		{name: "the status page imports its sources", from: []string{"internal/statuspage"}, shipped: true,
			only: []string{"entrustbus", "internal/find", "internal/order", "internal/snapshot", "internal/span", "internal/streams", "internal/timeline"}},
		{name: "only tests import the browser", from: []string{"cmd", "internal", "entrustbus"}, never: []string{"github.com/chromedp"}, shipped: true},
		{name: "policyfile imports policy", from: []string{"internal/policyfile"}, only: []string{"internal/policy"}, shipped: true},
		{name: "policy is pure", from: []string{"internal/policy"}, never: []string{"context", "net/http", "os", "log/slog", "github.com/nats-io"}, shipped: true},
		{name: "gateway imports names alone", from: []string{"internal/gateway"}, except: []string{"internal/gateway/gatewaytest"},
			only: []string{"entrustbus/san"}, shipped: true},
		{name: "the simulator imports names alone", from: []string{"internal/gateway/gatewaytest"}, only: []string{"entrustbus/san"}, shipped: true},
		{name: "throttle imports none of ours", from: []string{"internal/throttle"}, only: []string{}, shipped: true},
		{name: "streams imports the contract", from: []string{"internal/streams"}, only: []string{"entrustbus"}, shipped: true},
		{name: "buckets import streams", from: []string{"internal/control", "internal/keys"}, only: []string{"internal/streams"}, shipped: true},
		{name: "certs imports names and streams", from: []string{"internal/certs"}, only: []string{"entrustbus/san", "internal/streams"}, shipped: true},
		{name: "stores import order and streams", from: []string{"internal/ledger", "internal/wakeup", "internal/results", "internal/deadletter"},
			only: []string{"entrustbus", "internal/order", "internal/streams"}, shipped: true},
		{name: "replay imports stores", from: []string{"internal/replay"}, shipped: true,
			only: []string{"entrustbus", "internal/order", "internal/ledger", "internal/results", "internal/deadletter", "internal/streams"}},
		{name: "snapshot imports its sources", from: []string{"internal/snapshot"}, shipped: true,
			only: []string{"internal/order", "internal/control", "internal/deadletter", "internal/span", "internal/streams"}},
		{name: "spans import none of ours", from: []string{"internal/span"}, only: []string{}, shipped: true},
		{name: "metrics imports its sources", from: []string{"internal/metrics"}, shipped: true,
			only: []string{"entrustbus", "internal/order", "internal/control", "internal/deadletter", "internal/snapshot"}},
		{name: "the watchdog imports its sources", from: []string{"internal/watchdog"}, shipped: true,
			only: []string{"internal/order", "internal/ledger", "internal/wakeup", "internal/control", "internal/streams", "internal/metrics"}},
		{name: "the feed imports its sources and its stream", from: []string{"internal/feed"}, shipped: true,
			only: []string{"entrustbus", "internal/control", "internal/gateway", "internal/streams"}},
		{name: "the consumer imports the rooms below it", from: []string{"internal/consumer"}, shipped: true, only: []string{
			"entrustbus", "internal/order", "internal/throttle", "internal/control", "internal/ledger", "internal/results", "internal/wakeup",
			"internal/deadletter", "internal/gateway", "internal/pollsched", "internal/streams", "internal/metrics", "internal/policy",
			"internal/certs", "internal/keys", "internal/audit", "internal/telemetry",
		}},
		{name: "timeline imports its sources", from: []string{"internal/timeline"}, shipped: true, only: []string{
			"entrustbus", "internal/order", "internal/ledger", "internal/wakeup", "internal/deadletter", "internal/audit", "internal/streams", "internal/control",
		}},
		{name: "find imports its sources", from: []string{"internal/find"}, shipped: true, only: []string{
			"entrustbus", "internal/order", "internal/ledger", "internal/wakeup", "internal/deadletter", "internal/certs", "internal/results", "internal/streams", "internal/timeline",
		}},
		{name: "tail imports its sources", from: []string{"internal/tail"}, shipped: true, only: []string{
			"entrustbus", "internal/order", "internal/ledger", "internal/deadletter", "internal/audit", "internal/control", "internal/streams", "internal/timeline",
		}},
		{name: "incident imports the contract and streams", from: []string{"internal/incident"}, only: []string{"entrustbus", "internal/streams"}, shipped: true},
		{name: "renewal imports its sources", from: []string{"internal/renewal"}, shipped: true,
			only: []string{"entrustbus", "internal/certs", "internal/keys", "internal/streams"}},
		{name: "audit imports the contract and streams", from: []string{"internal/audit"}, only: []string{"entrustbus", "internal/streams"}, shipped: true},
		{name: "telemetry imports none of ours", from: []string{"internal/telemetry"}, only: []string{}, shipped: true},
		{name: "no room imports the consumer", from: []string{"internal"}, except: []string{"internal/consumer", "internal/testbed"}, never: []string{"internal/consumer"}},
		{name: "mtlscache imports none of ours", from: []string{"internal/mtlscache"},
			never: []string{"internal", "cmd", "entrustbus", "integration"}, shipped: true},
		{name: "pollsched imports the standard library only", from: []string{"internal/pollsched"},
			never: []string{"internal", "cmd", "entrustbus", "integration", "github.com", "golang.org", "go.opentelemetry.io"}, shipped: true},
		{name: "throttle imports none of ours, and no bus", from: []string{"internal/throttle"},
			never: []string{"internal", "cmd", "entrustbus", "integration", "github.com/nats-io"}, shipped: true},
		{name: "control imports streams only", from: []string{"internal/control"},
			never: []string{"cmd", "entrustbus", "integration", "internal/consumer", "internal/deadletter", "internal/gateway", "internal/ledger",
				"internal/metrics", "internal/mtlscache", "internal/order", "internal/policy", "internal/pollsched", "internal/replay",
				"internal/results", "internal/status", "internal/throttle", "internal/wakeup", "internal/watchdog", "internal/worker"}, shipped: true},
		{name: "only commands and the test bed import the wiring of a worker", from: []string{"internal"}, except: []string{"internal/testbed"},
			never: []string{"internal/worker"}},
		{name: "the issuer imports the contract", from: []string{"entrustbus/issuer"}, only: []string{"entrustbus"}, shipped: true},
		{name: "the public contract imports only packages that others can import", from: []string{"entrustbus"},
			never: []string{"internal", "cmd", "integration"}, shipped: true},
		{name: "nothing imports a command", from: []string{all}, except: []string{"cmd"}, never: []string{"cmd"}},
		{name: "commands do not import each other", from: []string{"cmd/entrust-worker"}, never: []string{"cmd/entrust-sandbox"}},
		{name: "the worker carries no server", from: []string{"cmd/entrust-worker"}, never: []string{natsServer}, deep: true},
		{name: "the worker carries no simulator", from: []string{"cmd/entrust-worker"},
			never: []string{"internal/gateway/gatewaytest", "internal/testbed", "integration", "testing"}, deep: true},
		{name: "the sandbox links no package of tests", from: []string{"cmd/entrust-sandbox"}, never: []string{"testing"}, deep: true},
		{name: "shipped packages link no server, except the sandbox", from: []string{"internal", "entrustbus"}, except: []string{"internal/testbed"},
			never: []string{natsServer}, shipped: true},
		{name: "configuration belongs to the commands", from: []string{"internal", "entrustbus"},
			never: []string{"github.com/knadh/koanf", "github.com/spf13"}},
		{name: "only commands draw for a terminal", from: []string{"internal", "entrustbus"},
			never: []string{"github.com/schollz/progressbar", "github.com/jedib0t/go-pretty", "golang.org/x/term"}},
	}
}

// graph holds the imports of each package.
type graph struct{ shipped, tests map[string][]string }

func TestImports(t *testing.T) {
	t.Parallel()
	g := load(t)
	if len(g.shipped) < 50 || g.shipped[module+"/cmd/entrust-worker"] == nil {
		t.Fatalf("only %d packages listed, or no worker among them", len(g.shipped))
	}
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			for _, v := range g.violations(r) {
				t.Error(v)
			}
		})
	}
}

// Each kind of rule must find the imports that it forbids.
func TestRulesFindWhatTheyForbid(t *testing.T) {
	t.Parallel()
	g := graph{
		shipped: map[string][]string{
			module + "/cmd/w":           {module + "/internal/a", "fmt"},
			module + "/internal/a":      {module + "/internal/a/b", "github.com/x/y"},
			module + "/internal/a/b":    {"github.com/big/server/v2/server"},
			module + "/internal/abc":    {"fmt"},
			module + "/pub":             {"fmt"},
			module + "/internal/d":      {module + "/internal/a", module + "/internal/d/e", module + "/pub", "fmt", "github.com/x/y"},
			"github.com/x/y":            {"github.com/hidden"},
			"github.com/big/server/v2x": {"fmt"},
		},
		tests: map[string][]string{module + "/internal/abc": {module + "/cmd/w"}},
	}
	for _, tc := range []struct {
		name string
		rule rule
		want int
	}{
		{"a direct import", rule{from: []string{"internal/a"}, never: []string{"github.com/x"}}, 1},
		{"an import below", rule{from: []string{"internal/a"}, never: []string{"github.com/big/server"}}, 1},
		{"an excepted package", rule{from: []string{"internal/a"}, except: []string{"internal/a/b"}, never: []string{"github.com/big/server"}}, 0},
		{"only by others", rule{from: []string{"cmd/w"}, never: []string{"github.com/hidden"}}, 0},
		{"by others, deep", rule{from: []string{"cmd/w"}, never: []string{"github.com/hidden"}, deep: true}, 1},
		{"an import of ours that is not listed", rule{from: []string{"internal/a"}, only: []string{"internal/abc"}}, 0},
		{"a listed import", rule{from: []string{"cmd/w"}, only: []string{"internal/a"}}, 0},
		{"an unlisted import", rule{from: []string{"cmd/w"}, only: []string{"internal/abc"}}, 1},
		{"a test's import", rule{from: []string{""}, never: []string{"cmd"}}, 1},
		{"a test's import, shipped", rule{from: []string{""}, never: []string{"cmd"}, shipped: true}, 0},
		{"a name that begins alike", rule{from: []string{"internal/abc"}, never: []string{"internal/a"}}, 0},
		{"one that is not named", rule{from: []string{"internal/d"}, only: []string{"pub"}}, 1},
		{"all are named", rule{from: []string{"internal/d"}, only: []string{"pub", "internal/a"}}, 0},
		{"none may be", rule{from: []string{"internal/d"}, only: []string{}}, 2},
		{"one of its own", rule{from: []string{"internal/a"}, never: []string{"internal"}}, 0},
	} {
		if got := g.violations(tc.rule); len(got) != tc.want {
			t.Errorf("%s: found %q, want %d", tc.name, got, tc.want)
		}
	}
}

func (g graph) violations(r rule) []string {
	var found []string
	for _, pkg := range slices.Sorted(maps.Keys(g.shipped)) {
		if !strings.HasPrefix(pkg, module) || !within(pkg, r.from) || within(pkg, r.except) {
			continue
		}
		for imported, via := range g.reach(pkg, r) {
			// A package may import its own parts.
			own := top(pkg, r.from)
			forbidden := within(imported, r.never) || r.only != nil && within(imported, []string{""}) && !within(imported, r.only)
			if forbidden && (own == "" || !within(imported, []string{own})) {
				found = append(found, pkg+" imports "+imported+via)
			}
		}
	}
	return found
}

// reach returns the packages that pkg imports, each with a text for the way to it.
func (g graph) reach(pkg string, r rule) map[string]string {
	all := map[string]string{}
	add := func(from string, via string) {
		for _, i := range g.shipped[from] {
			if _, seen := all[i]; !seen {
				all[i] = via
			}
		}
	}
	add(pkg, "")
	if !r.shipped && !r.deep {
		for _, i := range g.tests[pkg] {
			if _, seen := all[i]; !seen {
				all[i] = " in a test"
			}
		}
	}
	for done := map[string]bool{}; r.deep && len(done) < len(all); {
		for _, p := range slices.Collect(maps.Keys(all)) {
			if !done[p] {
				done[p] = true
				add(p, " by way of "+p)
			}
		}
	}
	return all
}

// top returns the name in from that contains pkg; empty for the module as a whole.
func top(pkg string, from []string) string {
	i := slices.IndexFunc(from, func(f string) bool { return within(pkg, []string{f}) })
	return from[i]
}

func within(pkg string, names []string) bool {
	return slices.ContainsFunc(names, func(n string) bool {
		if first, _, _ := strings.Cut(n, "/"); !strings.Contains(first, ".") && n != "testing" {
			n = strings.TrimSuffix(module+"/"+n, "/")
		}
		return pkg == n || strings.HasPrefix(pkg, n+"/")
	})
}

func load(t *testing.T) graph {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Imports,TestImports,XTestImports", "./...", "./entrustbus/...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			t.Fatalf("go list: %v: %s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	g := graph{shipped: map[string][]string{}, tests: map[string][]string{}}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath                         string
			Imports, TestImports, XTestImports []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return g
		} else if err != nil {
			t.Fatal(err)
		}
		g.shipped[p.ImportPath] = append([]string{}, p.Imports...)
		g.tests[p.ImportPath] = append(p.TestImports, p.XTestImports...)
	}
}
