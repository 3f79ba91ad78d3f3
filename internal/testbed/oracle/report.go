package oracle

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// Report is the result of a check.
type Report struct {
	Orders int
	// Lost is the number of requests without a result.
	Lost int
	// DoubleEnrollments is the number of an order's enrollments beyond the first that its
	// result does not declare (`possible_duplicate`, within `submissions`).
	DoubleEnrollments int
	// SecondResults is the number of results beyond the first of a generation.
	SecondResults int
	// EarlyPolls is the number of wake-ups before their time, and of polls before the
	// first wake-up of their order.
	EarlyPolls int
	// HeldUnconfirmed is the number of orders that ended as unconfirmed: the gateway may
	// have accepted them, and the worker did not submit them again.
	HeldUnconfirmed int
	// Explained is the highest number of held orders that the run's faults can explain.
	// It is 0 without Oracle.Faults.
	Explained int

	// Outcomes counts the results.
	Outcomes map[entrustbus.Outcome]int
	// Results holds the result in force of each order, the highest generation, by
	// <producer>.<id>.
	Results map[string]*entrustbus.Result
	// LatePolls is the number of orders that were polled after their result was stored.
	// Such a poll may have begun before.
	LatePolls int
	// StaleLetters is the number of dead letters that do not belong to the result of
	// their order: their worker died before the result, and the order ended differently.
	StaleLetters int
	// Repeated is the number of orders whose result declares more than one submission.
	Repeated int
	// Findings are the broken promises of the run, one line each.
	Findings []string
	// Control lists the breakers and pauses of the control bucket, one line each, if a
	// promise was broken.
	Control []string
	// Notes are facts worth knowing that break no promise.
	Notes []string
}

// Good reports whether the run kept every promise.
func (r *Report) Good() bool { return len(r.Findings) == 0 }

// find adds a broken promise.
func (r *Report) find(format string, args ...any) {
	r.Findings = append(r.Findings, fmt.Sprintf(format, args...))
}

// note adds a note.
func (r *Report) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// String returns the numbers that decide about a run.
func (r *Report) String() string {
	return fmt.Sprintf("lost=%d double_enrollments=%d second_results=%d early_polls=%d held_unconfirmed=%d explained<=%d",
		r.Lost, r.DoubleEnrollments, r.SecondResults, r.EarlyPolls, r.HeldUnconfirmed, r.Explained)
}

// shownNotes is how many notes Details writes.
const shownNotes = 20

// Details writes the outcomes, the findings and the first notes.
func (r *Report) Details(w io.Writer) {
	var parts []string
	for _, o := range slices.Sorted(maps.Keys(r.Outcomes)) {
		parts = append(parts, fmt.Sprintf("%s %d", o, r.Outcomes[o]))
	}
	fmt.Fprintf(w, "  requests %d: %s; submitted again %d; polled after the result %d\n",
		r.Orders, strings.Join(parts, ", "), r.Repeated, r.LatePolls)
	for _, f := range r.Findings {
		fmt.Fprintf(w, "  BROKEN %s\n", f)
	}
	for _, k := range r.Control {
		fmt.Fprintf(w, "  control %s\n", k)
	}
	for _, n := range r.Notes[:min(shownNotes, len(r.Notes))] {
		fmt.Fprintf(w, "  note   %s\n", n)
	}
	if left := len(r.Notes) - shownNotes; left > 0 {
		fmt.Fprintf(w, "  note   and %d more\n", left)
	}
}
