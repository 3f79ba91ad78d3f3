//go:build !linux

package consumer

import "time"

// sinceBoot is unknown on this platform: the monotonic clock decides.
func sinceBoot() time.Duration { return 0 }
