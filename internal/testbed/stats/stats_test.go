package stats

import (
	"strings"
	"testing"
	"time"
)

func TestSpread(t *testing.T) {
	t.Parallel()
	var s Spread
	if got := s.At(0.99); got != 0 {
		t.Errorf("an empty spread has a p99 of %v", got)
	}
	for i := 100; i >= 1; i-- {
		s.Add(time.Duration(i) * time.Millisecond)
	}
	for _, tc := range []struct {
		p    float64
		want time.Duration
	}{
		{0, time.Millisecond},
		{0.5, 50 * time.Millisecond},
		{0.99, 99 * time.Millisecond},
		{0.991, 100 * time.Millisecond}, // never below the requested share
		{1, 100 * time.Millisecond},
	} {
		if got := s.At(tc.p); got != tc.want {
			t.Errorf("At(%v) = %v, want %v", tc.p, got, tc.want)
		}
	}
	s.Add(time.Second)
	if got := s.At(1); got != time.Second {
		t.Errorf("after another one the largest is %v, want 1s", got)
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	table := Table{Header: []string{"way", "p99"}}
	table.Add("goroutine", "5 ms")
	table.Add("nak →", "120 ms")
	if got, want := table.String(), "way           p99\ngoroutine    5 ms\nnak →      120 ms\n"; got != want {
		t.Errorf("printed as\n%s\nwant\n%s", got, want)
	}
	if got, want := table.Markdown(), "| way | p99 |\n|---|--:|\n| goroutine | 5 ms |\n| nak → | 120 ms |\n"; got != want {
		t.Errorf("as Markdown\n%s\nwant\n%s", got, want)
	}
}

func TestMachine(t *testing.T) {
	t.Parallel()
	for _, word := range []string{"cores of ", "go1.", "nats-server "} {
		if got := Machine(t.TempDir()); !strings.Contains(got, word) {
			t.Errorf("the machine is %q, without %q", got, word)
		}
	}
}
