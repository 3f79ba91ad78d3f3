package terminal

import (
	"cmp"
	"encoding/csv"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// Page is how many rows of a table are held before it is printed.
const Page = 1000

// Listing prints rows as they come: one JSON object a line, a table on a terminal, or
// fields separated by tabs below a line of their names. Make one with List. It is not safe
// for concurrent use.
type Listing struct {
	// None is what people read when there was nothing to list.
	None string

	w       io.Writer
	json    bool
	pretty  bool
	colour  bool // with pretty
	csv     *csv.Writer
	columns []string
	rows    []table.Row
	begun   bool

	// ranks and width are of a table that fits its terminal: see Layout. Width 0: it need not.
	ranks []int
	width int
}

// List lists to standard output: for people if it is a terminal, in colour unless
// NO_COLOR is set.
func (t *Terminal) List(asJSON bool, columns ...string) *Listing {
	l := NewListing(t.Out, asJSON, Is(t.Out), columns...)
	l.colour = l.pretty && t.colours()
	return l
}

// NewListing lists to w. pretty says that people look at it.
func NewListing(w io.Writer, asJSON, pretty bool, columns ...string) *Listing {
	return &Listing{w: w, json: asJSON, pretty: pretty && !asJSON, columns: columns}
}

// Add prints one row: v where it is JSON, else the cells.
func (l *Listing) Add(v any, cells ...string) error {
	if l.json {
		return PrintJSON(l.w, v)
	}
	if l.csv != nil {
		if err := l.header(); err != nil {
			return err
		}
		for i, c := range cells {
			cells[i] = Plain(c)
		}
		return l.csv.Write(cells)
	}
	if !l.pretty {
		if err := l.header(); err != nil {
			return err
		}
		for i, c := range cells {
			cells[i] = Plain(c)
		}
		_, err := fmt.Fprintln(l.w, strings.Join(cells, "\t"))
		return err
	}
	row := make(table.Row, len(cells))
	for i, c := range cells {
		row[i] = Plain(c)
	}
	l.rows, l.begun = append(l.rows, row), true
	if len(l.rows) == Page {
		return l.End()
	}
	return nil
}

// Begun reports whether a row was added or printed.
func (l *Listing) Begun() bool { return l.begun }

// header prints the names of the columns, once. Programs get it without rows too.
func (l *Listing) header() error {
	if l.begun {
		return nil
	}
	l.begun = true
	if l.csv != nil {
		return l.csv.Write(l.columns)
	}
	_, err := fmt.Fprintln(l.w, strings.Join(l.columns, "\t"))
	return err
}

// colours are those of the words that people look for first. It is read only.
var colours = map[string]text.Color{
	"issued": text.FgGreen, "revoked": text.FgGreen, "replayed": text.FgGreen,
	"open": text.FgYellow, "parked": text.FgYellow, "expired": text.FgYellow, "unconfirmed": text.FgYellow,
	"failed": text.FgRed, "rejected": text.FgRed, "refused": text.FgRed,
}

// painted is a cell in the colour of its word, in the columns that have such words.
func (l *Listing) painted(column, cell string) string {
	colour, ok := colours[cell]
	if !l.colour || !ok || column != "OUTCOME" && column != "STATE" && column != "ACTION" {
		return cell
	}
	return colour.EscapeSeq() + cell + text.Reset.EscapeSeq()
}

// End prints what is held back.
func (l *Listing) End() error {
	if l.csv != nil {
		err := l.header()
		l.csv.Flush()
		return cmp.Or(err, l.csv.Error())
	}
	if !l.pretty && !l.json {
		return l.header()
	}
	if l.pretty && !l.begun && l.None != "" {
		_, err := fmt.Fprintln(l.w, l.None)
		return err
	}
	if len(l.rows) == 0 {
		return nil
	}
	t := table.NewWriter()
	style := table.StyleLight
	style.Options = table.OptionsNoBordersAndSeparators
	t.SetStyle(style)
	shown, limits := l.fit()
	header := make(table.Row, len(shown))
	for i, c := range shown {
		header[i] = l.columns[c]
	}
	t.AppendHeader(header)
	for _, whole := range l.rows {
		row := make(table.Row, len(shown))
		for i, c := range shown {
			row[i] = l.painted(l.columns[c], shorten(whole[c].(string), limits[c]))
		}
		t.AppendRow(row)
	}
	l.rows = nil
	_, err := fmt.Fprintln(l.w, t.Render())
	return err
}

// Finish is end after err, which may be nil. Nothing is printed where that is all there is
// to tell.
func (l *Listing) Finish(err error) error {
	if err != nil && !l.begun {
		return err
	}
	return cmp.Or(l.End(), err)
}

// When is an instant as a listing shows it: the time until or since it to people, RFC
// 3339 to programs.
func (l *Listing) When(t, now time.Time) string {
	switch {
	case t.IsZero():
		return ""
	case !l.pretty:
		return t.UTC().Format(time.RFC3339)
	case t.After(now):
		return "in " + Span(t.Sub(now))
	}
	return Span(now.Sub(t))
}

// Date is an instant to the second, "" for none.
func (l *Listing) Date(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
