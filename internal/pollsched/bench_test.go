package pollsched_test

import (
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/pollsched"
)

func BenchmarkNextAt(b *testing.B) {
	s, now := pollsched.Default(), time.Unix(1_800_000_000, 0)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = s.NextAt(7, now, now.Add(time.Hour), 0, 0.5)
	}
}

func TestNextAtAllocatesNothing(t *testing.T) {
	s, now := pollsched.Default(), time.Unix(1_800_000_000, 0)
	if n := testing.AllocsPerRun(100, func() { _, _ = s.NextAt(7, now, now.Add(time.Hour), 0, 0.5) }); n != 0 {
		t.Errorf("a poll is scheduled with %v allocations", n)
	}
}
