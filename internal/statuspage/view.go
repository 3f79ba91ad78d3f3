package statuspage

import (
	"time"

	"github.com/entrust-worker/entrust-worker/internal/snapshot"
	"github.com/entrust-worker/entrust-worker/internal/span"
)

// read is the time of a figure's reading. Stale says that a later reading failed.
type read struct {
	At    time.Time
	Stale bool
}

func readOf[T any](p snapshot.Part[T]) read { return read{p.At, p.Stale()} }

// Levels of figures and rows. The stylesheet colours them, and a word gives the same
// information.
const (
	levelOK   = "ok"
	levelWarn = "warn"
	levelBad  = "bad"
)

// statusView is the content of the fleet's page. Each text is untrusted: the template
// escapes it.
type statusView struct {
	// Known is false before the first successful reading.
	Known    bool
	Problems []problemView
	Sections []section
}

// problemView is a problem with its recommended action.
type problemView struct{ Level, Word, Text, Do string }

// section is a part of the page under one heading.
type section struct {
	ID, Title string
	// Half puts this section beside its neighbour on a wide screen.
	Half    bool
	Figures []figure
	Plots   []plot
	Tables  []table
	Note    string
}

// figure is one value with its name.
type figure struct {
	Name, Value string
	// Word gives the meaning of Level in text. Note is more information.
	Level, Word, Note string
	read
}

// table is a list with a caption. Without rows the page shows the sentence Empty.
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

// cell is a text or a link. Word, in front of the text, gives the meaning of the row's
// level.
type cell struct {
	Text, Word, Link string
	Number           bool
}

// Long reports whether the text needs a column for several words per line.
func (c cell) Long() bool { return len(c.Text) > 40 }

func text(s string) cell             { return cell{Text: s} }
func count[T int | uint64](n T) cell { return cell{Text: thousands(int64(n)), Number: true} }
func link(s, to string) cell         { return cell{Text: s, Link: to} }

// columns returns table heads. A name that begins with # marks a column of numbers.
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

// ago formats the time since an event, "—" for the zero time.
func ago(at, now time.Time) string {
	if at.IsZero() {
		return "—"
	}
	return span.Of(max(0, now.Sub(at))) + " ago"
}

// until formats the time to an event, "—" for the zero time.
func until(at, now time.Time) string {
	switch {
	case at.IsZero():
		return "—"
	case at.Before(now):
		return "now"
	}
	return "in " + span.Of(at.Sub(now))
}

// age formats the age of a stored thing, "—" for the zero time.
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

// dash replaces an unknown text.
func dash(s string) string {
	if s == "" {
		return "—"
	}
	return s
}
