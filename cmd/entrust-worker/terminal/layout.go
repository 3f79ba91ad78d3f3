package terminal

import (
	"encoding/csv"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
)

const (
	// narrow is how wide a terminal is that does not say it.
	narrow = 80
	// cellLimit is the longest cell of a table; no cell is cut to less than shortest.
	cellLimit, shortest = 60, 16
)

// Format is how a listing is to be printed, as its flags say. The zero value is a table on a
// terminal, and fields separated by tabs elsewhere.
type Format struct {
	name string
	json bool
	wide bool
}

// Add declares the flags --format, --json and --wide.
func (f *Format) Add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.name, "format", "", "print a `table`, json (one object per line) or csv; default on a terminal: a table")
	cmd.Flags().BoolVar(&f.json, "json", false, "the same as --format json")
	cmd.Flags().BoolVar(&f.wide, "wide", false, "a table with every column, whatever the width of the terminal")
	usage.Complete(cmd, "format", "table", "json", "csv")
}

// Check refuses values that say nothing.
func (f *Format) Check() error {
	switch {
	case !slices.Contains([]string{"", "table", "json", "csv"}, f.name):
		return usage.Errorf("--format must be table, json or csv, is %q", f.name)
	case f.json && f.name != "" && f.name != "json":
		return usage.Errorf("--json and --format %s disagree", f.name)
	}
	f.json = f.json || f.name == "json"
	return nil
}

// ForPeople reports whether a person reads what goes to standard output.
func (f *Format) ForPeople(t *Terminal) bool { return f.name == "" && !f.json && Is(t.Out) }

// Column is a column of a table that fits its terminal.
type Column struct {
	Name string
	// Rank says which columns go first where there is no room for all: those of the highest
	// rank. Those of rank 0 stay.
	Rank int
}

// Layout lists to standard output as f says. A table leaves columns out, and shortens its
// longest cells, until it fits the terminal.
func (t *Terminal) Layout(f Format, columns ...Column) *Listing {
	names, ranks := make([]string, len(columns)), make([]int, len(columns))
	for i, c := range columns {
		names[i], ranks[i] = c.Name, c.Rank
	}
	l := NewListing(t.Out, f.json, f.name == "table" || f.wide || f.name == "" && Is(t.Out), names...)
	l.colour = l.pretty && Is(t.Out) && t.colours()
	if f.name == "csv" {
		l.csv, l.pretty = csv.NewWriter(t.Out), false
	}
	if l.ranks = ranks; !f.wide {
		l.width = t.width()
	}
	return l
}

// width is how many columns the terminal has.
func (t *Terminal) width() int {
	if f, ok := t.Out.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			return w
		}
	}
	for _, entry := range t.Environ {
		if text, ok := strings.CutPrefix(entry, "COLUMNS="); ok {
			if w, err := strconv.Atoi(text); err == nil && w > 0 {
				return w
			}
		}
	}
	return narrow
}

// fit returns which columns the rows that are held are shown with, and the longest cell of each
// column.
func (l *Listing) fit() (shown, limits []int) {
	widths := make([]int, len(l.columns))
	for i, c := range l.columns {
		shown, limits = append(shown, i), append(limits, cellLimit)
		widths[i] = len(c)
		for _, row := range l.rows {
			widths[i] = max(widths[i], len([]rune(row[i].(string))))
		}
	}
	if l.ranks == nil {
		return shown, limits
	}
	if l.width == 0 {
		return shown, widths
	}
	// room is what the columns that are shown take: those that may go with cells of at most
	// this length, the others with cells of at most that one. A cell has a blank on both sides.
	room := func(may, stay int) (n int) {
		for _, i := range shown {
			if limits[i] = stay; l.ranks[i] > 0 {
				limits[i] = may
			}
			limits[i] = max(limits[i], len(l.columns[i]))
			n += min(widths[i], limits[i]) + 2
		}
		return n
	}
	for room(shortest, cellLimit) > l.width {
		last := slices.MaxFunc(shown, func(a, b int) int { return l.ranks[a] - l.ranks[b] })
		if l.ranks[last] == 0 {
			break
		}
		shown = slices.DeleteFunc(shown, func(i int) bool { return i == last })
	}
	may, stay := cellLimit, cellLimit
	for may > shortest && room(may, stay) > l.width {
		may--
	}
	for stay > shortest && room(may, stay) > l.width {
		stay--
	}
	return shown, limits
}
