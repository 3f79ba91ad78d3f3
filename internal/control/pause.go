package control

import (
	"context"
	"encoding/json"
	"time"
)

const (
	pausePrefix = "pause."
	// MaxPause caps every pause.
	MaxPause = time.Hour
)

// pauseRecord is the value of a pause's key.
type pauseRecord struct {
	Duration duration `json:"duration"`
	Worker   string   `json:"worker"`
}

// Pause stops all workers' calls to the gateway for d from now, at most MaxPause. A pause
// that lasts longer stays. Deleting the key ends the pause.
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

// pauseLeft returns how long a pause still lasts; 0 if it has ended or there is none.
func pauseLeft(data []byte, age time.Duration) time.Duration {
	var p pauseRecord
	if data == nil || json.Unmarshal(data, &p) != nil {
		return 0
	}
	return max(0, min(time.Duration(p.Duration), MaxPause)-age)
}
