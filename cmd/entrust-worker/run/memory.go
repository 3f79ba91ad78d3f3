package run

import (
	"os"
	"runtime/debug"
)

// gcPercent is the worker's default of GOGC. Its live heap is a few megabytes, so that Go's
// own 100 collects after every few: at 150 the worker takes 13 % less CPU an order and
// 3 MiB more memory (35 MiB at 64 in flight, where the design allows 40); at 200 it takes
// 16 % less and 44 MiB (docs/performance.md).
const gcPercent = 150

// collectLess sets the default, unless the environment says otherwise.
func collectLess() {
	if _, set := os.LookupEnv("GOGC"); !set {
		debug.SetGCPercent(gcPercent)
	}
}
