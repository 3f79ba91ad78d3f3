//go:build linux && (amd64 || arm64 || ppc64le || riscv64 || s390x)

package mtlscache

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// steady returns a cache on a pair, and on the server's CA if told to, that have
// settled.
func steady(tb testing.TB, serverCA bool) *Cache {
	tb.Helper()
	dir := tb.TempDir()
	paths := [...]string{filepath.Join(dir, "client.pem"), filepath.Join(dir, "client.key"), filepath.Join(dir, "ca.pem")}
	content := selfSigned(tb)
	for _, path := range paths {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	cfg := Config{CertFile: paths[0], KeyFile: paths[1]}
	if serverCA {
		cfg.ServerCAFile = paths[2]
	}
	c, err := New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	// Two seconds from now without the wait.
	settled := *c.state.Load()
	settled.compareAt = time.Time{}
	c.state.Store(&settled)
	return c
}

// TestSteadyCallAllocatesNothing measures all that the cache adds to a call.
func TestSteadyCallAllocatesNothing(t *testing.T) {
	c := steady(t, true)
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

// BenchmarkSteady is what the cache adds to a call while nothing changes: one
// stat by path, one by descriptor for each further file, and the count of calls.
// The bar is 2 µs and no allocation. Seen in quiet windows (the least of 150 runs
// of 3 ms) of a busy virtual machine whose cheapest system call takes 0.20 µs, a
// stat by path 1.15 and one by descriptor 0.44: 1.75 µs for a pair, 2.2 with the
// server's CA. One os.Stat takes 1.3 µs there, and two allocations.
func BenchmarkSteady(b *testing.B) {
	for _, files := range []struct {
		name     string
		serverCA bool
	}{{"pair", false}, {"pair+CA", true}} {
		b.Run(files.name, func(b *testing.B) {
			c := steady(b, files.serverCA)
			b.ReportAllocs()
			for b.Loop() {
				g, err := c.acquire()
				if err != nil {
					b.Fatal(err)
				}
				g.calls.Add(-1)
			}
		})
		b.Run(files.name+"/parallel", func(b *testing.B) {
			c := steady(b, files.serverCA)
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
		})
	}
}
