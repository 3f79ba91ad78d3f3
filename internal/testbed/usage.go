package testbed

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of the CPU times in /proc: 100 a second on every architecture that Go
// supports.
const tick = time.Second / 100

// Usage is the resource usage of a process at one time.
type Usage struct {
	RSS  int64         // bytes in memory
	Peak int64         // highest RSS so far
	CPU  time.Duration // user and system time so far
}

// UsageOf reads the usage of a running process. It needs Linux.
func UsageOf(pid int) (Usage, error) {
	var u Usage
	status, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, fmt.Errorf("reading the memory of process %d: %w", pid, err)
	}
	defer status.Close()
	for lines := bufio.NewScanner(status); lines.Scan(); {
		name, rest, _ := strings.Cut(lines.Text(), ":")
		number, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
		kib, _ := strconv.ParseInt(number, 10, 64)
		switch name {
		case "VmRSS":
			u.RSS = kib << 10
		case "VmHWM":
			u.Peak = kib << 10
		}
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, fmt.Errorf("reading the CPU time of process %d: %w", pid, err)
	}
	// The command in parentheses may contain spaces. User and system time are the 12th
	// and 13th field after it.
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return u, fmt.Errorf("reading the CPU time of process %d: %d fields", pid, len(fields))
	}
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return u, fmt.Errorf("reading the CPU time of process %d: %w", pid, err)
		}
		u.CPU += time.Duration(n) * tick
	}
	return u, nil
}
