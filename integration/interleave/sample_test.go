//go:build !integration

package interleave

// How much is tried: what an ordinary test run has time for.
const (
	thorough      = false
	interleavings = 20
)
