package statuspage

import (
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

func TestPlot(t *testing.T) {
	t.Parallel()
	dense := func(from, to time.Duration, value float64) (all []point) {
		for at := from; at >= to; at -= sampleEvery {
			all = append(all, point{noon.Add(-at), value})
		}
		return all
	}
	for _, tc := range []struct {
		name         string
		points       []point
		lines        int
		first, texts string
	}{
		{"nothing", nil, 0, "", ""},
		{"one point is no line", dense(0, 0, 1), 0, "", ""},
		{"an hour", dense(time.Hour, 0, 5), 1, "0.0,2.0", "now 5, 5 to 5"},
		{"a flat line at the bottom", dense(time.Minute, 0, 0), 1, "295.0,62.0", "now 0, 0 to 0"},
		{"what is older than an hour is not drawn", dense(2*time.Hour, 0, 5), 1, "0.0,2.0", "now 5, 5 to 5"},
		{"a gap breaks the line", append(dense(40*time.Minute, 30*time.Minute, 1), dense(10*time.Minute, 0, 1234)...), 2, "100.0,62.0", "now 1,234, 1 to 1,234"},
		{"a fraction", dense(time.Minute, 0, 2.46), 1, "295.0,2.0", "now 2.5, 2.5 to 2.5"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := newPlot("id", "Title", "unit", tc.points, noon, read{})
			if len(p.Lines) != tc.lines || p.Empty() != (tc.lines == 0) {
				t.Fatalf("%d lines, want %d: %q", len(p.Lines), tc.lines, p.Lines)
			}
			if tc.lines == 0 {
				return
			}
			if first, _, _ := strings.Cut(p.Lines[0], " "); first != tc.first {
				t.Errorf("the line begins at %s, want %s", first, tc.first)
			}
			if got := "now " + p.Now + ", " + p.Least + " to " + p.Most; got != tc.texts {
				t.Errorf("texts %q, want %q", got, tc.texts)
			}
		})
	}
}

// The history keeps the samples of the last hour, at a minimum distance. A rate is the
// growth of a sequence; a sequence that fell has none.
func TestHistory(t *testing.T) {
	t.Parallel()
	var h history
	for at := time.Duration(0); at <= 3*time.Hour; at += liveEvery {
		h.add(sample{at: noon.Add(at), results: uint64(at / time.Second), parked: float64(at)})
	}
	values := h.values(func(s sample) float64 { return s.parked })
	if n := len(values); n < 235 || n > 245 || values[n-1].at.Sub(values[0].at) > historyFor {
		t.Fatalf("%d samples over %v", n, values[n-1].at.Sub(values[0].at))
	}
	rates := h.rates(func(s sample) uint64 { return s.results })
	if len(rates) != len(values)-1 {
		t.Errorf("%d rates of %d samples", len(rates), len(values))
	}
	for _, r := range rates {
		if r.value != 60 {
			t.Fatalf("the rate is %v a minute, want 60", r.value)
		}
	}
	h.add(sample{at: noon.Add(4 * time.Hour), results: 5}) // from a stream that was made again
	if rates := h.rates(func(s sample) uint64 { return s.results }); len(rates) != 0 {
		t.Errorf("a stream that was made again has the rates %v", rates)
	}
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	for n, want := range map[float64]string{0: "0", 7: "7", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1234: "−1,234", 0.25: "0.2", 9.96: "10.0", 99.6: "100", 1234.5: "1,235"} {
		if got := number(n); got != want {
			t.Errorf("number(%v) = %q, want %q", n, got, want)
		}
	}
	for n, want := range map[uint64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 5 << 20: "5.0 MiB", 1 << 62: "4.0 EiB"} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %q, want %q", n, got, want)
		}
	}
}
