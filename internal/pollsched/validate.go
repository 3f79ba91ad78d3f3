package pollsched

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// minFirst refuses a First without its unit. In Go a bare 5 is five nanoseconds, which would
// flood the gateway with polls.
const minFirst = time.Millisecond

// Validate reports every field, and every relation between fields, that would make the schedule
// wait too little, wait for ever, or shrink its waits. Each message names the field and both
// values of the failed comparison. A valid schedule never waits less than (1-Jitter)·First.
func (s Schedule) Validate() error {
	var errs []error
	refuse := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if s.First < minFirst {
		refuse("First must be at least %v: %v !>= %v", minFirst, s.First, minFirst)
	}
	if s.Max < s.First {
		refuse("Max must not be below First: %v !>= %v", s.Max, s.First)
	}
	if !(s.Factor >= 1) || math.IsInf(s.Factor, 1) { // negated for NaN
		refuse("Factor must be a number of at least 1: %v !>= 1", s.Factor)
	}
	if !(s.Jitter >= 0 && s.Jitter < 1) {
		refuse("Jitter must be at least 0 and below 1: %v not in [0, 1)", s.Jitter)
	}
	switch {
	case s.RetryAfterMax < 0:
		refuse("RetryAfterMax must not be negative: %v !>= 0s", s.RetryAfterMax)
	case s.RetryAfterMax > 0 && s.RetryAfterMax < s.Max:
		refuse("RetryAfterMax must not be below Max (or 0 to ignore Retry-After): %v !>= %v", s.RetryAfterMax, s.Max)
	}
	return errors.Join(errs...)
}
