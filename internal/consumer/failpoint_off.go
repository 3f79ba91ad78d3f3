//go:build !failpoints

package consumer

// failpoint marks a row of the crash table. In a build with the tag failpoints a crash
// test makes the process die there; in every other build it is nothing.
func failpoint(string) {}
