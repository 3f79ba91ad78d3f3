package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/testbed/stats"
)

// report is the result of a run, and the content of the JSON file.
type report struct {
	Machine      string             `json:"machine"`
	Begun        time.Time          `json:"begun"`
	Took         string             `json:"took"`
	Quick        bool               `json:"quick"`
	GatewayAlone pass               `json:"gateway_alone"`
	Rows         []*row             `json:"rows"`
	Latency      map[string]latency `json:"added_latency,omitempty"`
	Revocations  *revocations       `json:"revocations,omitempty"`
	Polls        *polls             `json:"polls,omitempty"`
	Scale        []*series          `json:"scale,omitempty"`
	// AtRest is the memory of a worker that has not worked yet, in bytes.
	AtRest int64 `json:"rss_at_rest_bytes,omitempty"`
}

// row is one scenario and its rounds, by side.
type row struct {
	Scenario scenario          `json:"scenario"`
	Passes   map[string][]pass `json:"passes"`
}

// spread holds median, minimum and maximum.
type spread struct{ mid, least, most float64 }

func spreadOf(v []float64) spread {
	if len(v) == 0 {
		return spread{}
	}
	v = slices.Sorted(slices.Values(v))
	return spread{(v[(len(v)-1)/2] + v[len(v)/2]) / 2, v[0], v[len(v)-1]}
}

func (r *row) of(side string, figure func(pass) float64) spread {
	var v []float64
	for _, p := range r.Passes[side] {
		v = append(v, figure(p))
	}
	return spreadOf(v)
}

func rate(p pass) float64 { return p.Rate }

// ratio returns the rate of a side relative to the bare loop's, round by round.
func (r *row) ratio(side string) spread {
	var v []float64
	for i, p := range r.Passes[side] {
		v = append(v, p.Rate/r.Passes["bare"][i].Rate)
	}
	return spreadOf(v)
}

// sides returns the names of the sides, the bare loop first.
func (r *row) sides() []string {
	var names []string
	for name := range r.Passes {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		first := func(s string) int { return slices.Index([]string{"worker", "bare", "bus"}, s) }
		return cmp.Or(cmp.Compare(first(b), first(a)), cmp.Compare(a, b))
	})
	return names
}

func (r *report) rates() *stats.Table {
	t := &stats.Table{Header: []string{"row", "side", "orders/s", "least–most", "of bare", "least–most", "of the possible", "CPU µs", "servers", "gateway", "allocations", "peak RSS MiB", "others %"}}
	for _, w := range r.Rows {
		for _, name := range w.sides() {
			rates, ratio := w.of(name, rate), w.ratio(name)
			possible := "–"
			if l := w.Scenario.Latency; l > 0 {
				possible = fmt.Sprintf("%.2f", rates.mid*l.Seconds()/float64(w.Scenario.InFlight*w.Scenario.Workers))
			}
			mid := func(f func(pass) float64) string { return fmt.Sprintf("%.0f", w.of(name, f).mid) }
			t.Add(w.Scenario.Name, name, fmt.Sprintf("%.0f", rates.mid), fmt.Sprintf("%.0f–%.0f", rates.least, rates.most),
				fmt.Sprintf("%.2f", ratio.mid), fmt.Sprintf("%.2f–%.2f", ratio.least, ratio.most), possible,
				mid(func(p pass) float64 { return p.CPU }), mid(func(p pass) float64 { return p.Servers }), mid(func(p pass) float64 { return p.Gateway }),
				mid(func(p pass) float64 { return p.Mallocs }), mid(func(p pass) float64 { return float64(p.Peak) / (1 << 20) }),
				mid(func(p pass) float64 { return 100 * p.Host }))
		}
	}
	return t
}

func (r *report) latencies() *stats.Table {
	t := &stats.Table{Header: []string{"added latency at 20/s", "p50 ms", "p99 ms"}}
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range r.Latency {
			if !yield(name) {
				return
			}
		}
	}) {
		l := r.Latency[name]
		if name == "gateway" {
			name = "the gateway's own"
		}
		t.Add(name, fmt.Sprintf("%.1f", l.P50), fmt.Sprintf("%.1f", l.P99))
	}
	return t
}

// bars reports for each bar of the design whether it is met.
func (r *report) bars() (lines []string) {
	say := func(met bool, format string, args ...any) {
		word := "met"
		if !met {
			word = "missed"
		}
		lines = append(lines, word+": "+fmt.Sprintf(format, args...))
	}
	for _, w := range r.Rows {
		if least := w.Scenario.Least; least > 0 {
			ratio := w.ratio("worker").mid
			say(ratio >= least, "%s: %.2f of the bare loop (bar %.2f)", w.Scenario.Name, ratio, least)
		}
		if most := w.Scenario.MostRSS; most > 0 {
			peak := w.of("worker", func(p pass) float64 { return float64(p.Peak) }).most
			say(peak <= float64(most), "%s: worker RSS %.0f MiB (bar %d)", w.Scenario.Name, peak/(1<<20), most>>20)
		}
	}
	if l, ok := r.Latency["worker"]; ok {
		say(l.P50 <= 3, "added latency p50 %.1f ms (bar 3)", l.P50)
		say(l.P99 <= 10, "added latency p99 %.1f ms (bar 10)", l.P99)
	}
	if r.Revocations != nil {
		empty, full := r.Revocations.Empty.P99, r.Revocations.Queued.P99
		say(full <= 2*empty, "revocation p99 %.1f ms with %d issue requests queued, %.1f ms alone (bar: twice that)", full, queued, empty)
	}
	if p := r.Polls; p != nil {
		say(p.Rate >= 0.8*p.Possible, "%.0f polls/s, each with a new wake-up, of %.0f that the gateway's latency allows (bar 0.80)", p.Rate, p.Possible)
	}
	return lines
}

// growth returns the table of the series.
func (r *report) growth() *stats.Table {
	t := &stats.Table{Header: []string{"with", "", "orders/s", "worker CPU µs", "server CPU µs", "worker RSS MiB"}}
	for _, s := range r.Scale {
		for _, p := range s.Points {
			t.Add(fmt.Sprint(p.X), s.Of, fmt.Sprintf("%.0f", p.Rate), fmt.Sprintf("%.0f", p.Worker), fmt.Sprintf("%.0f", p.Servers), fmt.Sprintf("%.0f", float64(p.RSS)/(1<<20)))
		}
	}
	return t
}

func (r *report) head() string {
	s := fmt.Sprintf("Measured on %s, %s, in %s.", r.Machine, r.Begun.Format(time.DateOnly), r.Took)
	if r.GatewayAlone.Rate > 0 {
		s += fmt.Sprintf(" The gateway alone: %.0f/s, %.0f µs of CPU an order.", r.GatewayAlone.Rate, r.GatewayAlone.Gateway)
	}
	if r.AtRest > 0 {
		s += fmt.Sprintf(" A worker at rest: %.0f MiB.", float64(r.AtRest)/(1<<20))
	}
	return s
}

// String formats the report for a terminal.
func (r *report) String() string {
	if len(r.Scale) > 0 {
		return fmt.Sprintf("%s\n\n%s\n", r.head(), r.growth())
	}
	return fmt.Sprintf("%s\n\n%s\n%s\n%s\n", r.head(), r.rates(), r.latencies(), strings.Join(r.bars(), "\n"))
}

// Markdown formats the report for a page.
func (r *report) Markdown() string {
	if len(r.Scale) > 0 {
		text := fmt.Sprintf("%s\n\n%s\n", r.head(), r.growth().Markdown())
		for _, s := range r.Scale {
			text += fmt.Sprintf("![CPU time of an order by %s](scale-%s.svg)\n", s.Of, s.Name)
		}
		return text
	}
	s := fmt.Sprintf("%s\n\n%s\n", r.head(), r.rates().Markdown())
	if len(r.Latency) > 0 {
		s += r.latencies().Markdown() + "\n"
	}
	for _, line := range r.bars() {
		s += "- " + line + "\n"
	}
	return s
}

func (r *report) save(file string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o644)
}

// write writes the tables between their marks in a page.
func (r *report) write(file, name string) error {
	page, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	begin, end := "<!-- "+name+": begin -->\n", "<!-- "+name+": end -->\n"
	before, rest, ok := strings.Cut(string(page), begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		return fmt.Errorf("writing the table to %s: the page lacks the marks %q and %q", file, strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return os.WriteFile(file, []byte(before+begin+r.Markdown()+end+after), 0o644)
}
