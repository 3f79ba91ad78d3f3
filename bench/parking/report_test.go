package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A page keeps its text around the figures. Any other file is replaced by them.
func TestWriteKeepsThePage(t *testing.T) {
	t.Parallel()
	f := &figures{orders: 1000, issued: warmUp + 250, issuing: time.Second, parking: time.Second}
	r := &report{machine: "a bench", sizes: []*figures{f}}
	page := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(page, []byte("# Before\n\n"+markBegin+"old\n"+markEnd+"\nAfter\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // also when it is written again
		if err := r.write(page); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if want := "# Before\n\n" + markBegin + r.Markdown() + markEnd + "\nAfter\n"; string(got) != want {
		t.Errorf("the page is\n%s\nwant\n%s", got, want)
	}
	alone := filepath.Join(t.TempDir(), "table.md")
	if err := r.write(alone); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(alone); err != nil || string(got) != r.Markdown() {
		t.Errorf("a file of its own holds %q, %v", got, err)
	}
}

// The plot is well-formed, stays inside its frame, and names every line.
func TestChart(t *testing.T) {
	t.Parallel()
	lines := []line{
		{name: "flat", colour: "#000", points: []point{{1000, 40 << 20}, {500_000, 41 << 20}}},
		{name: "steep & <odd>", colour: "#f00", dashed: true, points: []point{{1000, 14 << 20}, {500_000, 3 << 30}}},
		{name: "absent", colour: "#00f"},
	}
	drawn := chart("Title", "Note", lines)
	for decoder := xml.NewDecoder(strings.NewReader(drawn)); ; {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for _, word := range []string{"flat", "steep &amp; &lt;odd&gt;", "100,000", "4096 MiB"} {
		if !strings.Contains(drawn, word) {
			t.Errorf("the plot does not say %q", word)
		}
	}
	if strings.Contains(drawn, "absent") {
		t.Error("a line without points is in the legend")
	}
	x, y := axes(lines)
	for _, l := range lines {
		for _, p := range l.points {
			px, py := x.place(float64(p.orders)), y.place(float64(p.bytes))
			if px < plotLeft || px > plotRight || py < plotTop || py > plotBottom {
				t.Errorf("%v is drawn at %.0f,%.0f, outside the frame", p, px, py)
			}
		}
	}
	if low, high := y.place(40<<20), y.place(3<<30); low <= high {
		t.Errorf("more memory is not drawn higher: %.0f, %.0f", low, high)
	}
}

func TestRequestsKnowTheirOwn(t *testing.T) {
	t.Parallel()
	r := &requests{kind: kindHold, csrs: make([][]byte, 10)}
	for _, tc := range []struct {
		text string
		want int
		ok   bool
	}{
		{r.id(7), 7, true}, {r.name(0), 0, true},
		{"hold-0000010", 0, false}, // beyond them
		{"issue-0000001", 0, false}, {"hold-x", 0, false}, {"", 0, false},
	} {
		if got, ok := r.index(tc.text); ok != tc.ok || ok && got != tc.want {
			t.Errorf("index(%q) = %d, %v; want %d, %v", tc.text, got, ok, tc.want, tc.ok)
		}
	}
}
