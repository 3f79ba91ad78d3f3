//go:build !failpoints

package consumer

// failpoint marks a row of the crash table. With the build tag failpoints, a crash test kills
// the process there. In every other build it does nothing.
func failpoint(string) {}
