//go:build race

package order

// raced says that the race detector watches, which makes a search five times as slow.
const raced = true
