package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// summary is what became of a batch, over all runs that it took.
type summary struct {
	// Requests are orders and revocations. Each has one outcome of those below, or is lost.
	Requests    int `json:"requests"`
	Orders      int `json:"orders"`
	Revocations int `json:"revocations"` // of what was issued
	Issued      int `json:"issued"`
	Revoked     int `json:"revoked"`
	Rejected    int `json:"rejected"`
	Failed      int `json:"failed"`
	Expired     int `json:"expired"`
	Unconfirmed int `json:"unconfirmed"`
	Cancelled   int `json:"cancelled"`
	// Lost requests have no result.
	Lost int `json:"lost"`
	// DuplicateEnrollments are orders that the gateway took beyond the first of each key.
	DuplicateEnrollments int `json:"duplicate_enrollments"`
	// DuplicateResults are results beyond the first of each request and generation.
	DuplicateResults int `json:"duplicate_results"`
	// Seconds is how long this run took, from the first request to the last result.
	Seconds float64 `json:"seconds"`
}

// count adds n results of an outcome.
func (s *summary) count(outcome entrustbus.Outcome, n int) {
	switch outcome {
	case entrustbus.OutcomeIssued:
		s.Issued += n
	case entrustbus.OutcomeRevoked:
		s.Revoked += n
	case entrustbus.OutcomeRejected:
		s.Rejected += n
	case entrustbus.OutcomeExpired:
		s.Expired += n
	case entrustbus.OutcomeUnconfirmed:
		s.Unconfirmed += n
	case entrustbus.OutcomeCancelled:
		s.Cancelled += n
	default:
		s.Failed += n
	}
}

// maxLines bounds how many findings, and how many notes, are printed.
const maxLines = 20

// print writes the summary to stdout, and what is not as planned to stderr.
func (r *report) print(stdout, stderr io.Writer, asJSON bool) error {
	for _, lines := range [][]string{r.Notes, r.Findings} {
		for i, line := range lines {
			if i == maxLines {
				fmt.Fprintf(stderr, "… and %d more\n", len(lines)-maxLines)
				break
			}
			fmt.Fprintln(stderr, line)
		}
	}
	if asJSON {
		s := r.summary
		s.Seconds = math.Round(s.Seconds*1000) / 1000
		return json.NewEncoder(stdout).Encode(s)
	}
	if width(stdout) > 0 {
		r.table(stdout)
	} else {
		r.lines(stdout)
	}
	return nil
}

// rows are the figures of a summary, with the word that people know them by.
func (r *report) rows() []struct {
	name string
	n    int
	bad  bool
} {
	type row = struct {
		name string
		n    int
		bad  bool
	}
	s := r.summary
	return []row{
		{"orders", s.Orders, false},
		{"revocations", s.Revocations, false},
		{"requests, of both", s.Requests, false},
		{"issued", s.Issued, false},
		{"revoked", s.Revoked, false},
		{"rejected", s.Rejected, false},
		{"failed", s.Failed, s.Failed > 0},
		{"expired", s.Expired, s.Expired > 0},
		{"unconfirmed", s.Unconfirmed, false},
		{"cancelled", s.Cancelled, s.Cancelled > 0},
		{"lost", s.Lost, s.Lost > 0},
		{"duplicate enrollments", s.DuplicateEnrollments, s.DuplicateEnrollments > 0},
		{"duplicate results", s.DuplicateResults, s.DuplicateResults > 0},
	}
}

func (r *report) table(out io.Writer) {
	t := table.NewWriter()
	t.SetOutputMirror(out)
	t.SetStyle(table.StyleRounded)
	t.SetColumnConfigs([]table.ColumnConfig{{Number: 2, Align: text.AlignRight}})
	for _, row := range r.rows() {
		if row.name == "issued" || row.name == "lost" {
			t.AppendSeparator()
		}
		n := fmt.Sprint(row.n)
		if row.bad {
			n = text.FgRed.Sprint(n)
		}
		t.AppendRow(table.Row{row.name, n})
	}
	t.Render()
	fmt.Fprintln(out, r.closing())
}

func (r *report) lines(out io.Writer) {
	for _, row := range r.rows() {
		fmt.Fprintf(out, "%-22s %6d\n", row.name, row.n)
	}
	fmt.Fprintln(out, r.closing())
}

// closing is the last line of a summary for people.
func (r *report) closing() string {
	line := fmt.Sprintf("%.1f s", r.summary.Seconds)
	if len(r.atOnce) > 0 {
		line += fmt.Sprintf("; issued at once: median %v, slowest %v", median(r.atOnce), r.atOnce[len(r.atOnce)-1].Round(time.Millisecond))
	}
	if len(r.waited) > 0 {
		line += fmt.Sprintf("; after approval: median %v", median(r.waited))
	}
	switch {
	case !r.Good():
		return line + fmt.Sprintf(". Not as planned: %d findings.", len(r.Findings))
	case r.HeldUnconfirmed > 0:
		return line + fmt.Sprintf(". Everything ended once, as planned; %d orders are held for an operator.", r.HeldUnconfirmed)
	}
	return line + ". Everything ended once, as planned."
}

// median of sorted times, none of them missing.
func median(sorted []time.Duration) time.Duration {
	return sorted[len(sorted)/2].Round(time.Millisecond)
}
