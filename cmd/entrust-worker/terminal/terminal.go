// Package terminal is what verbs print for people and for programs: listings, fields,
// progress, and questions.
//
// Results go to standard output; logs, errors and progress to standard error.
package terminal

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"

	"golang.org/x/term"

	"github.com/entrust-worker/entrust-worker/internal/span"
)

// Terminal is what a verb has of the process: its streams, its environment and a clock.
// All fields are required.
type Terminal struct {
	In       io.Reader
	Out, Err io.Writer
	Environ  []string // NAME=value
	Now      func() time.Time
}

// Printf writes to standard output. A reader that went away is nothing to report.
func (t *Terminal) Printf(format string, args ...any) { fmt.Fprintf(t.Out, format, args...) }

// Notef writes a line to standard error.
func (t *Terminal) Notef(format string, args ...any) { fmt.Fprintf(t.Err, format+"\n", args...) }

// Limit is how many rows a listing on a terminal has where no number was asked for.
const Limit = 100

// Is reports whether a stream is a terminal, so that a person reads or writes it.
func Is(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// defaultWidth is that of what is no terminal.
const defaultWidth = 80

// Width is how many characters a line of standard output has: 80 where it is no terminal.
func (t *Terminal) Width() int {
	if f, ok := t.Out.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
			return width
		}
	}
	return defaultWidth
}

// Colours reports whether standard output is read by people who want colours.
func (t *Terminal) Colours() bool { return Is(t.Out) && t.colours() }

// colours reports whether people want colours.
func (t *Terminal) colours() bool {
	plain, dumb := false, false
	for _, entry := range t.Environ {
		name, value, _ := strings.Cut(entry, "=")
		switch name {
		case "NO_COLOR":
			plain = value != ""
		case "TERM":
			dumb = value == "dumb"
		}
	}
	return !plain && !dumb
}

// PrintJSON writes v as one line.
func PrintJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// PrintIndented writes v as JSON for people.
func PrintIndented(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// Field is one line of what is shown of something: its name and its value.
type Field [2]string

// PrintFields writes names and values in two columns. Empty values are left out.
func PrintFields(w io.Writer, all []Field) error {
	width := 0
	for _, f := range all {
		if f[1] != "" {
			width = max(width, len(f[0]))
		}
	}
	var b strings.Builder
	for _, f := range all {
		if f[1] != "" {
			fmt.Fprintf(&b, "%-*s  %s\n", width, f[0], Plain(f[1]))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Plain makes text from the bus fit to print: a publisher could otherwise move the cursor
// of a terminal, or break a line into two.
func Plain(s string) string {
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

// Span is a duration in its two largest units.
func Span(d time.Duration) string { return span.Of(d) }
