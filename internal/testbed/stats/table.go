package stats

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Table is a small table of text. The first column is aligned to the left, the
// others to the right.
type Table struct {
	Header []string
	Rows   [][]string
}

// Add adds a row.
func (t *Table) Add(cells ...string) { t.Rows = append(t.Rows, cells) }

// String formats the table for a terminal.
func (t *Table) String() string {
	widths := t.widths()
	var b strings.Builder
	for _, row := range append([][]string{t.Header}, t.Rows...) {
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			switch {
			case i == 0:
				b.WriteString(cell + pad)
			default:
				b.WriteString("  " + pad + cell)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// Markdown formats the table for a page.
func (t *Table) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s |\n", strings.Join(t.Header, " | "))
	b.WriteString("|---" + strings.Repeat("|--:", len(t.Header)-1) + "|\n")
	for _, row := range t.Rows {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
	}
	return b.String()
}

func (t *Table) widths() []int {
	widths := make([]int, len(t.Header))
	for _, row := range append([][]string{t.Header}, t.Rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	return widths
}
