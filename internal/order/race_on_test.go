//go:build race

package order

// raced says that the race detector is on, which makes a search five times slower.
const raced = true
