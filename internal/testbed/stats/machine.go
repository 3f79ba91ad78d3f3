// Package stats formats the results of benchmarks: distributions, tables, and a
// description of the machine.
package stats

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// Machine describes in one line the machine of a measurement: processor, cores, memory,
// kernel, the file system of dir, Go and nats-server.
func Machine(dir string) string {
	parts := []string{
		fmt.Sprintf("%d cores of %s", runtime.NumCPU(), field("/proc/cpuinfo", "model name", "an unnamed processor")),
	}
	kib, _, _ := strings.Cut(field("/proc/meminfo", "MemTotal", ""), " ")
	if n, err := strconv.ParseInt(kib, 10, 64); err == nil {
		parts = append(parts, fmt.Sprintf("%.0f GiB of memory", float64(n)/(1<<20)))
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		parts = append(parts, runtime.GOOS+" "+strings.TrimSpace(string(release)))
	}
	if fs := fileSystem(dir); fs != "" {
		parts = append(parts, fs)
	}
	return strings.Join(append(parts, runtime.Version(), "nats-server "+testbed.ServerVersion()), ", ")
}

// field returns the value of a field in a file of /proc, none if there is no such field.
func field(file, name, none string) string {
	f, err := os.Open(file)
	if err != nil {
		return none
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return none
}

// fileSystem returns the type of the file system that contains dir.
func fileSystem(dir string) string {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return ""
	}
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		return ""
	}
	best, kind := "", ""
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if len(f) < 3 || len(f[1]) < len(best) {
			continue
		}
		if f[1] == "/" || dir == f[1] || strings.HasPrefix(dir, f[1]+"/") {
			best, kind = f[1], f[2]
		}
	}
	return kind
}
