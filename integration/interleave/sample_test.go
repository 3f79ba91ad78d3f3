//go:build !integration

package interleave

// Extent of an ordinary test run.
const (
	thorough      = false
	interleavings = 20
)
