package harness

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// Verdict is what a run came to.
type Verdict struct {
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
	// HeldUnconfirmed is the number of orders that ended as unconfirmed: nobody could
	// find out what became of them, and they were not submitted again.
	HeldUnconfirmed int

	// Outcomes counts the results.
	Outcomes map[entrustbus.Outcome]int
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
	// Notes are worth knowing and break no promise.
	Notes []string
}

// Good reports whether every promise was kept.
func (v *Verdict) Good() bool { return len(v.Findings) == 0 }

// find notes a broken promise.
func (v *Verdict) find(format string, args ...any) {
	v.Findings = append(v.Findings, fmt.Sprintf(format, args...))
}

// note notes what is worth knowing.
func (v *Verdict) note(format string, args ...any) {
	v.Notes = append(v.Notes, fmt.Sprintf(format, args...))
}

// String is the five numbers that a run is judged by.
func (v *Verdict) String() string {
	return fmt.Sprintf("lost=%d double_enrollments=%d second_results=%d early_polls=%d held_unconfirmed=%d",
		v.Lost, v.DoubleEnrollments, v.SecondResults, v.EarlyPolls, v.HeldUnconfirmed)
}

// Print writes the numbers and, where there are any, the findings and notes.
func (v *Verdict) Print(w io.Writer) {
	fmt.Fprintf(w, "%s\n", v)
	var parts []string
	for _, o := range slices.Sorted(maps.Keys(v.Outcomes)) {
		parts = append(parts, fmt.Sprintf("%s %d", o, v.Outcomes[o]))
	}
	fmt.Fprintf(w, "  requests %d: %s; submitted again %d; polled after the result %d\n",
		v.Orders, strings.Join(parts, ", "), v.Repeated, v.LatePolls)
	for _, f := range v.Findings {
		fmt.Fprintf(w, "  BROKEN %s\n", f)
	}
	for _, n := range v.Notes {
		fmt.Fprintf(w, "  note   %s\n", n)
	}
}
