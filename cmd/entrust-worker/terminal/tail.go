package terminal

import (
	"fmt"
	"strings"
	"time"
)

// Tail prints what happens, a line at a time: aligned for a person, else JSON, or fields
// separated by tabs below a line of their names. Make one with NewTail.
type Tail struct {
	t       *Terminal
	people  bool
	listing *Listing
	widths  []int
}

// NewTail prints to standard output. The first column is the time. widths are those of the
// columns for a person; one that is longer makes its line longer.
func (t *Terminal) NewTail(asJSON bool, columns []string, widths []int) *Tail {
	return &Tail{t: t, people: !asJSON && Is(t.Out), listing: NewListing(t.Out, asJSON, false, columns...), widths: widths}
}

// Add prints one line: v where it is JSON, else the cells.
func (l *Tail) Add(v any, at time.Time, cells ...string) error {
	if !l.people {
		return l.listing.Add(v, append([]string{at.UTC().Format(time.RFC3339)}, cells...)...)
	}
	var b strings.Builder
	b.WriteString(at.Local().Format(time.TimeOnly))
	for i, c := range cells {
		fmt.Fprintf(&b, "  %-*s", l.widths[i], Plain(c))
	}
	_, err := fmt.Fprintln(l.t.Out, strings.TrimRight(b.String(), " "))
	return err
}
