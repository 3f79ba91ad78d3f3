//go:build linux && (amd64 || arm64 || ppc64le || riscv64 || s390x)

package mtlscache

import (
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// steady returns a cache on a pair, and on the server's CA if asked. The files are older
// than a tick of file times.
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
	tb.Cleanup(c.Close)
	// Without this the test would have to wait for two seconds.
	settled := *c.state.Load()
	settled.compareAt = time.Time{}
	c.state.Store(&settled)
	return c
}

// TestSteadyCallAllocatesNothing counts the allocations that the cache adds to a call.
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

// TestMarksSeeEachChange changes each field of a mark alone.
func TestMarksSeeEachChange(t *testing.T) {
	t.Parallel()
	m := mark{dev: 1, ino: 2, size: 3, mtime: 4, ctime: 5}
	for _, other := range []mark{
		{dev: 0, ino: 2, size: 3, mtime: 4, ctime: 5},
		{dev: 1, ino: 1, size: 3, mtime: 4, ctime: 5},
		{dev: 1, ino: 2, size: 2, mtime: 4, ctime: 5},
		{dev: 1, ino: 2, size: 3, mtime: 3, ctime: 5}, // an older time is a change too
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

// BenchmarkSteady measures what the cache adds to a call while nothing changes: a stat
// for each file, and the count of calls. The bar is 10 µs and no allocation. Other
// work on the machine adds to the mean (ns/op), so the benchmark also reports the
// minimum of many short windows.
//
// Measured on a busy virtual machine of 2 cores ("AMD EPYC", Linux 6.18), minimum:
// 3.3 µs for a pair, 5.0 µs with the server's CA. The mean on a quiet machine: 4.1 and
// 6.9 µs.
func BenchmarkSteady(b *testing.B) {
	for _, files := range []struct {
		name     string
		serverCA bool
	}{{"pair", false}, {"pair+CA", true}} {
		start := func(b *testing.B) (call func()) {
			c := steady(b, files.serverCA)
			b.ReportAllocs()
			return func() {
				g, err := c.acquire()
				if err != nil {
					b.Error(err)
					return
				}
				g.calls.Add(-1)
			}
		}
		b.Run(files.name, func(b *testing.B) {
			call := start(b)
			for b.Loop() {
				call()
			}
			const calls = 300
			least := time.Duration(math.MaxInt64)
			for range 300 {
				start := time.Now()
				for range calls {
					call()
				}
				least = min(least, time.Since(start)/calls)
			}
			b.ReportMetric(float64(least.Nanoseconds()), "least-ns/op")
		})
		b.Run(files.name+"/parallel", func(b *testing.B) {
			call := start(b)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					call()
				}
			})
		})
	}
}
