package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestReport(t *testing.T) {
	t.Parallel()
	r := &report{Machine: "a machine", Rows: []*row{{
		Scenario: scenario{Name: "at 100 ms", InFlight: 64, Latency: 100 * time.Millisecond, Workers: 1, Least: 0.6, MostRSS: 40 << 20},
		Passes: map[string][]pass{
			"bare":   {{Rate: 1000}, {Rate: 100}, {Rate: 400}},
			"worker": {{Rate: 500, Peak: 41 << 20}, {Rate: 70}, {Rate: 220}},
		},
	}}}
	if got, want := r.Rows[0].ratio("worker"), (spread{0.55, 0.5, 0.7}); got != want {
		t.Errorf("the ratio is %v, want that of neighbouring rounds: %v", got, want)
	}
	if got := r.bars(); len(got) != 2 || !strings.HasPrefix(got[0], "missed: at 100 ms: 0.55") || !strings.HasPrefix(got[1], "missed: at 100 ms: worker RSS 41") {
		t.Errorf("the bars are %q", got)
	}
	page := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(page, []byte("a\n<!-- throughput: begin -->\nold\n<!-- throughput: end -->\nb\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.write(page, "throughput"); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(page)
	if text := string(got); err != nil || strings.Contains(text, "old") || !strings.Contains(text, "| at 100 ms | worker | 220 | 70–500 | 0.55 |") || !strings.HasSuffix(text, "end -->\nb\n") {
		t.Errorf("the page is %q, %v", text, err)
	}
	if err := r.write(page, "other"); err == nil {
		t.Error("a page without the marks was taken")
	}
}
