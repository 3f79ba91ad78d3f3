package pollsched_test

import (
	"fmt"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/pollsched"
)

// An order with the default deadline of ten minutes, whose second answer has a Retry-After of
// half a minute. A worker draws the spread from math/rand/v2.Float64; 0.5 leaves the curve
// unchanged.
func ExampleSchedule_NextAt() {
	sched := pollsched.Default()
	submitted := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	deadline := submitted.Add(10 * time.Minute)

	now, last := submitted, false
	for attempt := 0; !last; attempt++ {
		var retryAfter time.Duration
		if attempt == 1 {
			retryAfter = 30 * time.Second
		}
		now, last = sched.NextAt(attempt, now, deadline, retryAfter, 0.5)
		fmt.Println(now.Format(time.TimeOnly), last)
	}
	// Output:
	// 12:00:05 false
	// 12:00:35 false
	// 12:01:20 false
	// 12:03:35 false
	// 12:08:35 false
	// 12:10:00 true
}
