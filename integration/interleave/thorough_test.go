//go:build integration

package interleave

// How much is tried: everything, in some minutes.
const (
	thorough      = true
	interleavings = 200
)
