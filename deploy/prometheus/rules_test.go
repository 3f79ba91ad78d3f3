// Package prometheus holds alerting rules. It has no code but this test, which compares
// them, and the dashboard in deploy/grafana, with the metrics that a worker has and with the
// runbook.
package prometheus

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/prometheus/client_golang/prometheus"

	workermetrics "github.com/entrust-worker/entrust-worker/internal/metrics"
)

// metric is what is known of one.
type metric struct{ labels map[string]bool }

var (
	descName   = regexp.MustCompile(`fqName: "([^"]+)"`)
	descLabels = regexp.MustCompile(`variableLabels: \{([^}]*)\}`)
	// httpName finds the metrics that cmd/entrust-worker registers itself.
	httpName = regexp.MustCompile(`Namespace: namespace, Name: "([a-z_]+)"`)

	use      = regexp.MustCompile(`(entrust_worker_[a-z_]+)(?:\{([^}]*)\})?`)
	grouping = regexp.MustCompile(`by \(([a-z_, ]+)\)`)
	recorded = regexp.MustCompile(`entrust_worker:[a-z0-9_:]+`)
	matcher  = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)\s*"`)
)

// metrics are those that a worker registers.
func metrics(t *testing.T) map[string]metric {
	t.Helper()
	all := map[string]metric{}
	registry := prometheus.NewRegistry()
	workermetrics.New(registry)
	descs := make(chan *prometheus.Desc)
	go func() {
		registry.Describe(descs)
		close(descs)
	}()
	for d := range descs {
		text := d.String()
		m := metric{map[string]bool{"le": true}}
		for label := range strings.SplitSeq(descLabels.FindStringSubmatch(text)[1], ",") {
			m.labels[label] = true
		}
		all[descName.FindStringSubmatch(text)[1]] = m
	}
	for _, file := range []string{"http.go", "policy.go"} {
		source, err := os.ReadFile("../../cmd/entrust-worker/run/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range httpName.FindAllStringSubmatch(string(source), -1) {
			all["entrust_worker_"+found[1]] = metric{map[string]bool{"version": true, "goversion": true}}
		}
	}
	if len(all) < 25 {
		t.Fatalf("only %d metrics found: %v", len(all), all)
	}
	return all
}

// family is the metric that a series belongs to.
func family(all map[string]metric, series string) (metric, bool) {
	for _, suffix := range []string{"", "_bucket", "_count", "_sum"} {
		if m, ok := all[strings.TrimSuffix(series, suffix)]; ok && strings.HasSuffix(series, suffix) {
			return m, true
		}
	}
	return metric{}, false
}

// rule is an alert, or where alert is "" a series that alerts are made of.
type rule struct{ alert, expr, severity, runbook, summary string }

// scraped are labels that Prometheus adds to every series.
var scraped = map[string]bool{"job": true, "instance": true}

func rules(t *testing.T) []rule {
	t.Helper()
	data, err := os.ReadFile("rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := yaml.Parser().Unmarshal(data)
	if err != nil {
		t.Fatal(err)
	}
	var all []rule
	records := map[string]bool{}
	for _, group := range doc["groups"].([]any) {
		for _, r := range group.(map[string]any)["rules"].([]any) {
			r := r.(map[string]any)
			if name, ok := r["record"].(string); ok {
				all = append(all, rule{expr: r["expr"].(string)})
				records[name] = true
				continue
			}
			notes := r["annotations"].(map[string]any)
			found := rule{alert: r["alert"].(string), expr: r["expr"].(string), runbook: notes["runbook_url"].(string), summary: notes["summary"].(string)}
			found.severity, _ = r["labels"].(map[string]any)["severity"].(string)
			all = append(all, found)
			if found.summary == "" || found.severity == "" {
				t.Errorf("%v: no summary, or no severity", r["alert"])
			}
			for _, name := range recorded.FindAllString(found.expr, -1) {
				if !records[name] {
					t.Errorf("%s: nothing records %s", found.alert, name)
				}
			}
		}
	}
	if len(all) == 0 {
		t.Fatal("no rules")
	}
	return all
}

func TestRulesUseMetricsThatExist(t *testing.T) {
	t.Parallel()
	all := metrics(t)
	for _, r := range rules(t) {
		uses := use.FindAllStringSubmatch(r.expr, -1)
		if len(uses) == 0 && !recorded.MatchString(r.expr) {
			t.Errorf("%s uses no metric: %s", r.alert, r.expr)
		}
		for _, u := range uses {
			m, ok := family(all, u[1])
			if !ok {
				t.Errorf("%s: there is no metric %s", r.alert, u[1])
				continue
			}
			for _, label := range matcher.FindAllStringSubmatch(u[2], -1) {
				if !m.labels[label[1]] {
					t.Errorf("%s: %s has no label %s", r.alert, u[1], label[1])
				}
			}
		}
	}
}

// The dashboard shows each metric, and no others, by labels that they have.
func TestDashboardUsesMetricsThatExist(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../grafana/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Templating struct {
			List []struct {
				Name, Type string
				Definition string
			}
		}
		Panels []struct {
			Title   string
			Targets []struct{ Expr, LegendFormat string }
		}
	}
	if err := json.Unmarshal(data, &board); err != nil {
		t.Fatal(err)
	}
	all, shown := metrics(t), map[string]bool{}
	for _, v := range board.Templating.List {
		if v.Type != "query" {
			continue
		}
		u := use.FindStringSubmatch(v.Definition)
		if u == nil {
			t.Errorf("the variable %s comes from no metric: %s", v.Name, v.Definition)
			continue
		}
		m, ok := family(all, u[1])
		if label := v.Definition[strings.LastIndex(v.Definition, ", ")+2 : len(v.Definition)-1]; !ok || !m.labels[label] && !scraped[label] {
			t.Errorf("the variable %s comes from %s and its label %s, which do not exist", v.Name, u[1], label)
		}
		if !strings.Contains(string(data), `=~\"$`+v.Name+`\"`) {
			t.Errorf("no query uses the variable %s", v.Name)
		}
	}
	for _, p := range board.Panels {
		if len(p.Targets) == 0 {
			t.Errorf("%s shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			for _, u := range use.FindAllStringSubmatch(target.Expr, -1) {
				m, ok := family(all, u[1])
				if !ok {
					t.Errorf("%s: there is no metric %s", p.Title, u[1])
					continue
				}
				for _, suffix := range []string{"", "_bucket", "_count", "_sum"} {
					shown[strings.TrimSuffix(u[1], suffix)] = true
				}
				if !strings.Contains(u[2], `job=~"$job"`) {
					t.Errorf("%s shows %s of every job", p.Title, u[1])
				}
				for _, label := range matcher.FindAllStringSubmatch(u[2], -1) {
					if !m.labels[label[1]] && !scraped[label[1]] {
						t.Errorf("%s: %s has no label %s", p.Title, u[1], label[1])
					}
				}
				for _, by := range grouping.FindAllStringSubmatch(target.Expr, -1) {
					for label := range strings.SplitSeq(by[1], ", ") {
						if !m.labels[label] {
							t.Errorf("%s: %s has no label %s", p.Title, u[1], label)
						}
					}
				}
			}
		}
	}
	for name := range all {
		if !shown[name] {
			t.Errorf("the dashboard does not show %s", name)
		}
	}
}

// operations reads docs/operations.md.
func operations(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// parts are the parts of a runbook, in their order.
var parts = []string{"You see", "It means", "Do", "Do not"}

// Each alert leads to its runbook: the heading of its name, with all parts in order.
func TestAlertsHaveRunbooks(t *testing.T) {
	t.Parallel()
	runbooks := map[string]string{} // by heading
	for _, section := range strings.Split(operations(t), "\n### ")[1:] {
		heading, text, _ := strings.Cut(section, "\n")
		text, _, _ = strings.Cut(text, "\n## ")
		if _, twice := runbooks[heading]; twice {
			t.Errorf("duplicate heading %s", heading)
		}
		runbooks[heading] = text
	}
	const under = "https://github.com/entrust-worker/entrust-worker/blob/main/docs/operations.md#"
	for _, r := range rules(t) {
		if r.alert == "" {
			continue
		}
		if want := under + strings.ToLower(r.alert); r.runbook != want {
			t.Errorf("%s: runbook_url is %s, want %s", r.alert, r.runbook, want)
		}
		text, ok := runbooks[r.alert]
		if !ok {
			t.Errorf("%s: docs/operations.md has no heading ### %s", r.alert, r.alert)
			continue
		}
		delete(runbooks, r.alert)
		for i, part := range parts {
			_, after, found := strings.Cut(text, "\n- **"+part+":**")
			if !found {
				t.Errorf("%s: its runbook lacks %q, or has it in another place", r.alert, part)
				break
			}
			said := after
			if i < len(parts)-1 {
				said, _, _ = strings.Cut(after, "\n- **"+parts[i+1]+":**")
			}
			if strings.TrimSpace(said) == "" {
				t.Errorf("%s: %q is empty in its runbook", r.alert, part)
			}
			text = after
		}
	}
	for heading := range runbooks {
		if strings.HasPrefix(heading, "Entrust") {
			t.Errorf("docs/operations.md has a runbook for the alert %s, which does not exist", heading)
		}
	}
}

// The page's table of alerts has all of them, with severity and a link to the runbook, and no others.
func TestOperationsListsAlerts(t *testing.T) {
	t.Parallel()
	page := operations(t)
	known := map[string]bool{}
	for _, r := range rules(t) {
		if r.alert == "" {
			continue
		}
		known[r.alert] = true
		if row := "\n| [`" + r.alert + "`](#" + strings.ToLower(r.alert) + ") | " + r.severity + " | "; !strings.Contains(page, row) {
			t.Errorf("docs/operations.md lacks the row %s", strings.TrimSpace(row))
		}
	}
	for _, name := range regexp.MustCompile("`(Entrust[A-Z][A-Za-z]+)`").FindAllStringSubmatch(page, -1) {
		if !known[name[1]] {
			t.Errorf("docs/operations.md names the alert %s, which does not exist", name[1])
		}
	}
}

// The page's table of metrics has all of them, and no others.
func TestOperationsListsMetrics(t *testing.T) {
	t.Parallel()
	all, page := metrics(t), operations(t)
	for name := range all {
		if !strings.Contains(page, "| `"+name+"` |") {
			t.Errorf("docs/operations.md does not list %s", name)
		}
	}
	for _, u := range use.FindAllStringSubmatch(page, -1) {
		if _, ok := family(all, u[1]); !ok {
			t.Errorf("docs/operations.md has %s, which is no metric", u[1])
		}
	}
}
