//go:build !linux

package consumer

import "time"

// sinceBoot is not known here: the monotonic clock decides.
func sinceBoot() time.Duration { return 0 }
