package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// tablePage is how many rows of a table are held before it is printed.
const tablePage = 1000

// listing prints rows as they come: one JSON object a line, a table on a terminal, or
// fields separated by tabs below a line of their names.
type listing struct {
	w       io.Writer
	json    bool
	pretty  bool
	colour  bool // with pretty
	columns []string
	none    string // told to people when there was nothing to list
	rows    []table.Row
	begun   bool
}

// listing lists to standard output: for people if it is a terminal, in colour unless
// NO_COLOR is set.
func (a *app) listing(asJSON bool, columns ...string) *listing {
	l := newListing(a.out, asJSON, isTerminal(a.out), columns...)
	plainly, _ := lookup(a.environ, "NO_COLOR")
	dumb, _ := lookup(a.environ, "TERM")
	l.colour = l.pretty && plainly == "" && dumb != "dumb"
	return l
}

// newListing lists to w. pretty says that people look at it.
func newListing(w io.Writer, asJSON, pretty bool, columns ...string) *listing {
	return &listing{w: w, json: asJSON, pretty: pretty && !asJSON, columns: columns}
}

// add prints one row: v where it is JSON, else the cells.
func (l *listing) add(v any, cells ...string) error {
	if l.json {
		return printJSON(l.w, v)
	}
	if !l.pretty {
		if err := l.header(); err != nil {
			return err
		}
		for i, c := range cells {
			cells[i] = plain(c)
		}
		_, err := fmt.Fprintln(l.w, strings.Join(cells, "\t"))
		return err
	}
	row := make(table.Row, len(cells))
	for i, c := range cells {
		row[i] = l.painted(l.columns[i], shorten(plain(c), 60))
	}
	l.rows, l.begun = append(l.rows, row), true
	if len(l.rows) == tablePage {
		return l.end()
	}
	return nil
}

// header prints the names of the columns, once. Programs get it without rows too.
func (l *listing) header() error {
	if l.begun {
		return nil
	}
	l.begun = true
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
func (l *listing) painted(column, cell string) string {
	colour, ok := colours[cell]
	if !l.colour || !ok || column != "OUTCOME" && column != "STATE" && column != "ACTION" {
		return cell
	}
	return colour.EscapeSeq() + cell + text.Reset.EscapeSeq()
}

// end prints what is held back.
func (l *listing) end() error {
	if !l.pretty && !l.json {
		return l.header()
	}
	if l.pretty && !l.begun && l.none != "" {
		_, err := fmt.Fprintln(l.w, l.none)
		return err
	}
	if len(l.rows) == 0 {
		return nil
	}
	t := table.NewWriter()
	style := table.StyleLight
	style.Options = table.OptionsNoBordersAndSeparators
	t.SetStyle(style)
	header := make(table.Row, len(l.columns))
	for i, c := range l.columns {
		header[i] = c
	}
	t.AppendHeader(header)
	t.AppendRows(l.rows)
	l.rows = nil
	_, err := fmt.Fprintln(l.w, t.Render())
	return err
}

// finish is end after err, which may be nil. Nothing is printed where that is all there is
// to tell.
func (l *listing) finish(err error) error {
	if err != nil && !l.begun {
		return err
	}
	return cmp.Or(l.end(), err)
}

// when is an instant as a listing shows it: the time until or since it to people, RFC
// 3339 to programs.
func (l *listing) when(t, now time.Time) string {
	switch {
	case t.IsZero():
		return ""
	case !l.pretty:
		return t.UTC().Format(time.RFC3339)
	case t.After(now):
		return "in " + span(t.Sub(now))
	}
	return span(now.Sub(t))
}

// printJSON writes v as one line.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// span is a duration in its two largest units.
func span(d time.Duration) string {
	d = d.Abs()
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
}

// plain makes text from the bus fit to print: whoever may publish could otherwise move
// the cursor of a terminal, or break a line into two.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

func shorten(s string, limit int) string {
	if r := []rune(s); len(r) > limit {
		return string(r[:limit-1]) + "…"
	}
	return s
}

// date is an instant to the second, "" for none.
func (l *listing) date(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
