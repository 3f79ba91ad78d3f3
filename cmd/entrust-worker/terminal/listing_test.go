package terminal

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestSpanInWords(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0s", 59*time.Second + 900*time.Millisecond: "59s", time.Minute: "1m00s", 61 * time.Minute: "1h01m", 49 * time.Hour: "2d01h", -time.Minute: "1m00s",
	} {
		if got := Span(d); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}

// Publishers write into these rows.
func TestListingKeepsItsForm(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l := NewListing(&out, false, false, "A", "B")
	for _, cells := range [][]string{{"1", "x\ty\nz"}, {"2", "\x1b[2J\x07"}} {
		if err := l.Add(nil, cells...); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.End(); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "A\tB\n1\tx y z\n2\t [2J \n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestListingOnATerminal(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l := NewListing(&out, false, true, "ORDER", "ERROR")
	if err := l.Add(nil, "web.a", strings.Repeat("long ", 30)+"\x1b[2J"); err != nil {
		t.Fatal(err)
	}
	if out.Len() > 0 {
		t.Fatal("a table was begun before its rows are known")
	}
	if err := l.End(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimRight(out.String(), "\n"), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "ORDER") || strings.ContainsAny(out.String(), "\x1b\t") || len([]rune(lines[1])) > 80 {
		t.Errorf("got %q", lines)
	}

	out.Reset()
	empty := NewListing(&out, false, true, "ORDER")
	empty.None = "no orders"
	if err := empty.End(); err != nil || out.String() != "no orders\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
}

// Off a terminal, and where people say so, there is no colour: newListing has none.
func TestListingInColour(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l := NewListing(&out, false, true, "ORDER", "OUTCOME", "ERROR")
	l.colour = true
	for _, outcome := range []string{"issued", "failed", "strange"} {
		if err := l.Add(nil, "issued", outcome, "failed"); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.End(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "\x1b["); n != 4 || !strings.Contains(out.String(), "\x1b[32missued\x1b[0m") || !strings.Contains(out.String(), "\x1b[31mfailed\x1b[0m") {
		t.Errorf("%d colours in %q", n, out.String())
	}
}
