package status

import (
	"sync"
	"time"
)

// maxQuestions is how many questions of one producer a worker answers in a second.
const maxQuestions = 50

// allowance prevents a producer with too many questions from slowing others. It counts
// the producers of the current second only. It is safe for concurrent use.
type allowance struct {
	begun time.Time

	mu     sync.Mutex
	second time.Duration  // the second that asked counts, since begun
	asked  map[string]int // by producer, in that second
}

// takes counts a question, and reports whether the worker answers it.
func (a *allowance) takes(producer string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if second := time.Since(a.begun).Truncate(time.Second); a.asked == nil || second != a.second {
		a.second, a.asked = second, map[string]int{}
	}
	a.asked[producer]++
	return a.asked[producer] <= maxQuestions
}
