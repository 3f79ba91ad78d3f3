package statuspage

import (
	"time"

	"github.com/entrust-worker/entrust-worker/internal/snapshot"
	"github.com/entrust-worker/entrust-worker/internal/span"
)

// read says as of when a figure is. Where its reading fails, it is stale from then on.
type read struct {
	At    time.Time
	Stale bool
}

func readOf[T any](p snapshot.Part[T]) read { return read{p.At, p.Stale()} }

// Levels of figures and rows, by which a stylesheet colours them. A word says the same.
const (
	levelOK   = "ok"
	levelWarn = "warn"
	levelBad  = "bad"
)

// statusView is what the page of the fleet shows. Each text is untrusted: the template
// escapes it.
type statusView struct {
	// Known is false before the first reading that succeeded.
	Known    bool
	Problems []problemView
	Sections []section
}

// problemView is a problem, with what to do.
type problemView struct{ Level, Word, Text, Do string }

// section is a part of the page under one heading.
type section struct {
	ID, Title string
	// Half: on a wide screen the next section goes beside it, or it goes beside the one before.
	Half    bool
	Figures []figure
	Plots   []plot
	Tables  []table
	Note    string
}

// figure is one value with its name.
type figure struct {
	Name, Value string
	// Word says what Level colours; Note is more about the value.
	Level, Word, Note string
	read
}

// table is a list with a caption. Without rows it is the sentence Empty.
type table struct {
	ID, Caption, Empty string
	Columns            []column
	Rows               []row
	read
}

type column struct {
	Name   string
	Number bool
}

type row struct {
	Level string
	Cells []cell
}

// cell is a text, with a word in front that says what the row's level colours, or a link.
type cell struct {
	Text, Word, Link string
	Number           bool
}

// Long reports whether the text needs room for several words in a line.
func (c cell) Long() bool { return len(c.Text) > 40 }

// text, count and link make cells.
func text(s string) cell             { return cell{Text: s} }
func count[T int | uint64](n T) cell { return cell{Text: thousands(int64(n)), Number: true} }
func link(s, to string) cell         { return cell{Text: s, Link: to} }

// columns makes the heads of a table; a name that begins with # is one of numbers.
func columns(names ...string) []column {
	var all []column
	for _, name := range names {
		c := column{Name: name}
		if name[0] == '#' {
			c = column{Name: name[1:], Number: true}
		}
		all = append(all, c)
	}
	return all
}

// ago writes how long ago an instant was, "—" for the zero time.
func ago(at, now time.Time) string {
	if at.IsZero() {
		return "—"
	}
	return span.Of(max(0, now.Sub(at))) + " ago"
}

// until writes how far off an instant is, "—" for the zero time.
func until(at, now time.Time) string {
	switch {
	case at.IsZero():
		return "—"
	case at.Before(now):
		return "now"
	}
	return "in " + span.Of(at.Sub(now))
}

// age writes how old something is that was stored at an instant, "—" for the zero time.
func age(at, now time.Time) string {
	if at.IsZero() {
		return "—"
	}
	return span.Of(max(0, now.Sub(at)))
}

func day(at time.Time) string {
	if at.IsZero() {
		return "—"
	}
	return at.UTC().Format("2006-01-02 15:04 UTC")
}

// dash stands for a text that is not known.
func dash(s string) string {
	if s == "" {
		return "—"
	}
	return s
}
