package status

import (
	"cmp"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
)

// column is one column of a grid.
type column struct {
	name  string
	right bool
	// most is how wide it may be, 0: as wide as its cells. flexible takes what the others leave; of a
	// cell that is too wide it shows the end where end is set.
	most          int
	flexible, end bool
	// optional says that the column is left out where no row has anything in it.
	optional bool
}

// grid is a table that fits a width. One column is flexible.
type grid struct {
	columns []column
	cells   [][]string
}

func (g *grid) add(cells ...string) {
	for i := range cells {
		cells[i] = terminal.Plain(cells[i])
	}
	g.cells = append(g.cells, cells)
}

// without is the grid without the optional columns that are empty.
func (g grid) without() grid {
	var kept grid
	kept.cells = make([][]string, len(g.cells))
	for i, c := range g.columns {
		if c.optional && !slices.ContainsFunc(g.cells, func(row []string) bool { return row[i] != "" }) {
			continue
		}
		kept.columns = append(kept.columns, c)
		for r, row := range g.cells {
			kept.cells[r] = append(kept.cells[r], row[i])
		}
	}
	return kept
}

// rows are the lines of a grid.
func (p printer) rows(g grid) []string {
	g = g.without()
	const gap = 2 // beside each column: the style pads by a blank on both sides
	left := p.room()
	for i, c := range g.columns {
		width := len(c.name)
		for _, row := range g.cells {
			width = max(width, text.StringWidthWithoutEscSequences(row[i]))
		}
		if c.flexible {
			left -= gap
			continue
		}
		left -= min(width, cmp.Or(c.most, width)) + gap
	}
	t := table.NewWriter()
	style := table.StyleLight
	style.Options = table.OptionsNoBordersAndSeparators
	t.SetStyle(style)
	header, configs := table.Row{}, []table.ColumnConfig{}
	for i, c := range g.columns {
		config := table.ColumnConfig{Number: i + 1, WidthMax: c.most, WidthMaxEnforcer: snip}
		if c.flexible {
			config.WidthMax = max(left, len(c.name))
		}
		if c.end {
			config.WidthMaxEnforcer = snipStart
		}
		if c.right {
			config.Align, config.AlignHeader = text.AlignRight, text.AlignRight
		}
		header, configs = append(header, c.name), append(configs, config)
	}
	t.AppendHeader(header)
	t.SetColumnConfigs(configs)
	for _, cells := range g.cells {
		row := table.Row{}
		for _, cell := range cells {
			row = append(row, cell)
		}
		t.AppendRow(row)
	}
	all := strings.Split(t.Render(), "\n")
	for i := range all {
		all[i] = p.fit(strings.TrimRight(all[i], " "))
	}
	return all
}

// snip cuts the end of a cell that is too wide.
func snip(cell string, most int) string { return text.Snip(cell, most, "…") }

// snipStart cuts the beginning: of a worker's name the end tells it from others.
func snipStart(cell string, most int) string {
	r := []rune(cell)
	if len(r) <= most || most < 1 {
		return cell
	}
	return "…" + string(r[len(r)-most+1:])
}
