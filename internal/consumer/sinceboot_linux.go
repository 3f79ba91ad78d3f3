package consumer

import (
	"time"

	"golang.org/x/sys/unix"
)

// sinceBoot is the time since the host was booted, including its sleep. Go's monotonic clock
// stops while a host sleeps.
func sinceBoot() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
		return 0 // without this clock, the monotonic one decides
	}
	return time.Duration(t.Nano())
}
