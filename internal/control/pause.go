package control

import (
	"context"
	"encoding/json"
	"time"
)

const (
	pausePrefix = "pause."
	// MaxPause caps a pause, whoever asked for it.
	MaxPause = time.Hour
)

// pauseRecord is the value of a pause's key.
type pauseRecord struct {
	Duration duration `json:"duration"`
	Worker   string   `json:"worker"`
}

// Pause has every worker leave the gateway alone for d from now, at most MaxPause. A
// pause that lasts longer stands. Deleting the key ends it.
func (b *Bucket) Pause(ctx context.Context, d time.Duration) error {
	d = min(d, MaxPause)
	if d <= 0 {
		return nil
	}
	_, err := b.update(ctx, "the pause that the gateway asked for", b.pause, 0, func(last entry) any {
		if pauseLeft(last.data, last.age) >= d {
			return nil
		}
		return pauseRecord{duration(d), b.worker}
	})
	return err
}

// pauseLeft returns how long a pause still lasts, 0 where it is over or there is none.
func pauseLeft(data []byte, age time.Duration) time.Duration {
	var p pauseRecord
	if data == nil || json.Unmarshal(data, &p) != nil {
		return 0
	}
	return max(0, min(time.Duration(p.Duration), MaxPause)-age)
}
