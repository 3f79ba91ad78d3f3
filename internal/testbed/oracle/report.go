package oracle

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// Report is what a run came to.
type Report struct {
	Orders int
	// Lost is the number of requests without a result.
	Lost int
	// DoubleEnrollments is the number of enrollments beyond the first of an order
	// that its result does not admit (`possible_duplicate`, within `submissions`).
	DoubleEnrollments int
	// SecondResults is the number of results beyond the first of a generation.
	SecondResults int
	// EarlyPolls is the number of wake-ups that came before their time, and of polls
	// before the first wake-up of their order.
	EarlyPolls int
	// HeldUnconfirmed is the number of orders that ended as unconfirmed: the gateway may
	// have taken them, and the worker did not submit them again.
	HeldUnconfirmed int
	// Explained is how many orders the faults of the run could have had held, at most.
	// It is 0 where the oracle has no account of them.
	Explained int

	// Outcomes counts the results.
	Outcomes map[entrustbus.Outcome]int
	// Results are the results in force, by <producer>.<id>: of each the highest generation.
	Results map[string]*entrustbus.Result
	// LatePolls is the number of orders that were polled after their result was
	// stored. A poll may have begun before.
	LatePolls int
	// StaleLetters is the number of dead letters that do not belong to the result of
	// their order: their worker died before the result, and the order ended otherwise.
	StaleLetters int
	// Repeated is the number of orders that were submitted more than once, and say so.
	Repeated int
	// Findings are all ways in which the run broke a promise, a line each.
	Findings []string
	// Control is what the control bucket held of breakers and pauses, a line each, where
	// a promise was broken.
	Control []string
	// Notes are worth knowing and break no promise.
	Notes []string
}

// Good reports whether every promise was kept.
func (r *Report) Good() bool { return len(r.Findings) == 0 }

// find notes a broken promise.
func (r *Report) find(format string, args ...any) {
	r.Findings = append(r.Findings, fmt.Sprintf(format, args...))
}

// note notes what is worth knowing.
func (r *Report) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// String is the numbers that decide about a run.
func (r *Report) String() string {
	return fmt.Sprintf("lost=%d double_enrollments=%d second_results=%d early_polls=%d held_unconfirmed=%d explained<=%d",
		r.Lost, r.DoubleEnrollments, r.SecondResults, r.EarlyPolls, r.HeldUnconfirmed, r.Explained)
}

// shownNotes is how many notes Details writes.
const shownNotes = 20

// Details writes the outcomes and, where there are any, the findings and the first notes.
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
