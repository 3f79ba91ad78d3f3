//go:build linux && (amd64 || arm64 || ppc64le || riscv64 || s390x)

package mtlscache

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// steady returns a cache on three files that have settled.
func steady(tb testing.TB) *Cache {
	tb.Helper()
	dir := tb.TempDir()
	paths := [...]string{filepath.Join(dir, "client.pem"), filepath.Join(dir, "client.key"), filepath.Join(dir, "ca.pem")}
	content := selfSigned(tb)
	settled := time.Now().Add(-time.Hour)
	for _, path := range paths {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			tb.Fatal(err)
		}
		if err := os.Chtimes(path, settled, settled); err != nil {
			tb.Fatal(err)
		}
	}
	c, err := New(Config{CertFile: paths[0], KeyFile: paths[1], ServerCAFile: paths[2]})
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// TestSteadyCallAllocatesNothing measures all that the cache adds to a call.
func TestSteadyCallAllocatesNothing(t *testing.T) {
	c := steady(t)
	if got := testing.AllocsPerRun(1000, func() {
		g, err := c.acquire()
		if err != nil {
			t.Fatal(err)
		}
		g.calls.Add(-1)
	}); got != 0 {
		t.Errorf("a steady call allocates %v times, want 0", got)
	}
	if got := testing.AllocsPerRun(1000, func() {
		if err := c.Check(); err != nil {
			t.Fatal(err)
		}
	}); got != 0 {
		t.Errorf("Check allocates %v times, want 0", got)
	}
}

// TestMarksSeeEachChange holds for the fields of a mark one by one.
func TestMarksSeeEachChange(t *testing.T) {
	t.Parallel()
	m := mark{dev: 1, ino: 2, size: 3, mtime: 4, ctime: 5}
	for _, other := range []mark{
		{dev: 0, ino: 2, size: 3, mtime: 4, ctime: 5},
		{dev: 1, ino: 1, size: 3, mtime: 4, ctime: 5},
		{dev: 1, ino: 2, size: 2, mtime: 4, ctime: 5},
		{dev: 1, ino: 2, size: 3, mtime: 3, ctime: 5}, // older is a change too
		{dev: 1, ino: 2, size: 3, mtime: 4, ctime: 4},
	} {
		if m.equal(other) {
			t.Errorf("%+v and %+v count as equal", m, other)
		}
	}
	if !m.equal(m) {
		t.Errorf("%+v does not equal itself", m)
	}
}

// BenchmarkSteady is what the cache adds to a call while nothing changes: a stat
// of certificate, key and server CA, and the count of calls. The bar is 2 µs and
// no allocation.
func BenchmarkSteady(b *testing.B) {
	c := steady(b)
	b.ReportAllocs()
	for b.Loop() {
		g, err := c.acquire()
		if err != nil {
			b.Fatal(err)
		}
		g.calls.Add(-1)
	}
}

// BenchmarkSteadyParallel is the same from all processors at once.
func BenchmarkSteadyParallel(b *testing.B) {
	c := steady(b)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			g, err := c.acquire()
			if err != nil {
				b.Fatal(err)
			}
			g.calls.Add(-1)
		}
	})
}
