package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/testbed/stats"
)

// report is the result of a run.
type report struct {
	machine   string
	plan      plan
	sizes     []*figures
	baselines []*baseline
	surge     *surge
	broken    []string // failed measurements with their errors
}

// sort sorts the rows by size.
func (r *report) sort() {
	slices.SortStableFunc(r.sizes, func(a, b *figures) int { return cmp.Compare(a.orders, b.orders) })
	slices.SortStableFunc(r.baselines, func(a, b *baseline) int {
		return cmp.Or(-cmp.Compare(a.way, b.way), cmp.Compare(a.orders, b.orders))
	})
}

// section is one table with a title and a note.
type section struct {
	title, note string
	table       stats.Table
}

// sections returns the tables of the report.
func (r *report) sections() []section {
	var all []section
	if len(r.sizes) > 0 {
		all = append(all, r.parking(), r.waking())
	}
	if len(r.baselines) > 0 {
		all = append(all, r.others())
	}
	if r.surge != nil {
		all = append(all, r.surge.section())
	}
	return all
}

func (r *report) parking() section {
	t := stats.Table{Header: []string{
		"orders", "parked/s", "issued/s", "ratio", "worker before", "after", "growth", "peak", "goroutines", "server before", "after", "idle CPU worker", "server",
	}}
	for _, f := range r.sizes {
		t.Add(
			thousands(f.orders), fmt.Sprintf("%.0f", f.parkRate()), fmt.Sprintf("%.0f", f.issueRate()), fmt.Sprintf("%.2f", f.parkRate()/f.issueRate()),
			megabytes(f.before.worker.RSS), megabytes(f.after.worker.RSS), signed(f.growth()), megabytes(f.after.worker.Peak),
			fmt.Sprintf("%d → %d", f.before.goroutines, f.after.goroutines),
			megabytes(f.before.server.RSS), megabytes(f.after.server.RSS),
			percent(f.before.workerCPU, f.after.workerCPU), percent(f.before.serverCPU, f.after.serverCPU),
		)
	}
	return section{
		"Parking", "Orders a second through one worker, and what worker and server take while all wait. CPU is of one core, with none parked → with all.", t,
	}
}

func (r *report) waking() section {
	t := stats.Table{Header: []string{
		"orders", "due before", "p99", "max", "due in window", "p50", "p99", "max", "second polls", "p99", "max", "still parked", "early", "asked again", "lost", "twice", "polled after close", "left on the bus",
	}}
	for _, f := range r.sizes {
		name := thousands(f.orders)
		if f.killed {
			name += " *"
		}
		cells := []string{name}
		cells = append(cells, spread(&f.ahead, false)...)
		cells = append(cells, spread(&f.window, true)...)
		cells = append(cells, spread(&f.second, false)...)
		t.Add(append(cells, thousands(f.stayed), fmt.Sprint(f.early), fmt.Sprint(f.again), fmt.Sprint(f.lost), fmt.Sprint(f.twice), fmt.Sprint(f.afterClose), fmt.Sprint(f.left))...)
	}
	return section{
		"Waking", fmt.Sprintf("Lateness: from the time of the wake-up to the poll as the gateway sees it. %s orders at most are due within the window of %v, and a few in the %v before it, as where a worker has run for a while; any others stay parked. The gateway says pending, and the second polls are when the worker chose. It has approved all by then, so that these end their orders: at most %d a second are due. * worker and server killed while the second polls were due.",
			thousands(burst), r.plan.window, r.plan.lead, endings), t,
	}
}

func (r *report) others() section {
	t := stats.Table{Header: []string{
		"way", "orders", "held/s", "client before", "after", "growth", "goroutines", "server", "idle CPU server", "p50", "p99", "max", "early", "lost",
	}}
	names := map[string]string{sleeping: "goroutine asleep", naking: "NakWithDelay"}
	for _, v := range r.baselines {
		name := names[v.way]
		if v.killed {
			name += ", server killed"
		}
		early := fmt.Sprint(v.end.Early)
		if v.end.Early > 0 {
			early += fmt.Sprintf(" (by up to %v)", v.end.Worst.Round(time.Millisecond))
		}
		t.Add(name, thousands(v.orders), fmt.Sprintf("%.0f", float64(v.orders)/v.holding.Seconds()),
			megabytes(v.before.RSS), megabytes(v.after.RSS), signed(v.after.RSS-v.before.RSS),
			fmt.Sprintf("%d → %s", v.goroutines[0], thousands(v.goroutines[1])), megabytes(v.server.RSS), fmt.Sprintf("%.1f %%", 100*v.cpu),
			short(v.end.P50), short(v.end.P99), short(v.end.Max), early, fmt.Sprint(v.orders-v.end.Done))
	}
	return section{
		"Beside it", "The same requests in a client that holds each in a sleeping goroutine, and in one that hands each back with NakWithDelay. Neither calls a gateway: this is what waiting alone takes.", t,
	}
}

// String formats the report for a terminal.
func (r *report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Measured on %s.\n", r.machine)
	for _, s := range r.sections() {
		fmt.Fprintf(&b, "\n%s\n%s\n\n%s", strings.ToUpper(s.title), s.note, s.table.String())
	}
	return b.String()
}

// Markdown formats the report for a page.
func (r *report) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Measured on %s.\n", r.machine)
	for _, s := range r.sections() {
		fmt.Fprintf(&b, "\n### %s\n\n%s\n\n%s", s.title, s.note, s.table.Markdown())
	}
	return b.String()
}

// Marks in a page around the figures.
const (
	markBegin = "<!-- figures: begin -->\n"
	markEnd   = "<!-- figures: end -->\n"
)

// write writes the figures to a file: between the marks if the file has them, else as its
// whole content.
func (r *report) write(file string) error {
	text := r.Markdown()
	if page, err := os.ReadFile(file); err == nil {
		if before, rest, ok := strings.Cut(string(page), markBegin); ok {
			if _, after, ok := strings.Cut(rest, markEnd); ok {
				text = before + markBegin + text + markEnd + after
			}
		}
	}
	return os.WriteFile(file, []byte(text), 0o644)
}

// memory draws the plot of memory against parked orders.
func (r *report) memory() string {
	worker := line{name: "entrust-worker", colour: "#0b6e4f"}
	server := line{name: "nats-server, message schedules", colour: "#0b6e4f", dashed: true}
	sleep := line{name: "client, a sleeping goroutine per order", colour: "#c0392b"}
	nak := line{name: "client, NakWithDelay", colour: "#2c5aa0"}
	nakServer := line{name: "nats-server, NakWithDelay", colour: "#2c5aa0", dashed: true}
	for _, f := range r.sizes {
		worker.points = append(worker.points, point{f.orders, f.after.worker.RSS})
		server.points = append(server.points, point{f.orders, f.after.server.RSS})
	}
	for _, v := range r.baselines {
		switch {
		case v.killed:
		case v.way == sleeping:
			sleep.points = append(sleep.points, point{v.orders, v.after.RSS})
		default:
			nak.points = append(nak.points, point{v.orders, v.after.RSS})
			nakServer.points = append(nakServer.points, point{v.orders, v.server.RSS})
		}
	}
	return chart("Memory while orders wait for approval", "Resident memory after a rest, nothing due. Both axes are logarithmic.",
		[]line{worker, server, sleep, nak, nakServer})
}

func spread(s *stats.Spread, median bool) []string {
	if s.Len() == 0 {
		if median {
			return []string{"–", "–", "–", "–"}
		}
		return []string{"–", "–", "–"}
	}
	cells := []string{thousands(s.Len())}
	if median {
		cells = append(cells, short(s.At(0.5)))
	}
	return append(cells, short(s.At(0.99)), short(s.At(1)))
}

// short formats a duration in milliseconds below ten seconds, in seconds above.
func short(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

func megabytes(n int64) string { return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20)) }

func signed(n int64) string { return fmt.Sprintf("%+.1f MiB", float64(n)/(1<<20)) }

func percent(before, after float64) string {
	return fmt.Sprintf("%.1f → %.1f %%", 100*before, 100*after)
}

// thousands formats a number with commas.
func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
