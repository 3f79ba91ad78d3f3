package integration

// A model of one order's life, made from the contract and not from the worker's
// tables: a bus, a ledger, a gateway, and workers that may die between any two
// of their effects. Whatever the order of events, every accepted request ends in
// one result of its generation, and nothing is submitted twice unasked.

import (
	"testing"

	"pgregory.net/rapid"
)

// modelResults is a result subject, which is written by compare-and-set.
type modelResults []int // generations

func (r *modelResults) publish(expected, replay int) bool {
	if expected != len(*r) {
		return false
	}
	*r = append(*r, replay)
	return true
}

// Of writers that read at any time and write at any later one, one is heard for
// each generation, as long as each looks for its own before it writes.
func TestModelResultsByCompareAndSet(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var log modelResults
		read := map[int]int{} // writer: length that it read
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			w := rapid.IntRange(0, 3).Draw(t, "writer")
			expected, ok := read[w]
			if !ok {
				if len(log) == 0 || log[len(log)-1] < w%2 {
					read[w] = len(log)
				}
				continue
			}
			log.publish(expected, w%2)
			delete(read, w)
		}
		for i := 1; i < len(log); i++ {
			if log[i] <= log[i-1] {
				t.Fatalf("results of the generations %v", log)
			}
		}
	})
}
