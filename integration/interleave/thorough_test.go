//go:build integration

package interleave

// Extent of a thorough run: everything, in some minutes.
const (
	thorough      = true
	interleavings = 200
)
