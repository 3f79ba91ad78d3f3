package watchdog

import (
	"context"
	"iter"
	"time"
)

const (
	// paceEvery is after how many values slowly rests: about a third of what one
	// answer of the server holds.
	paceEvery = 500
	// paceRest is how many times as long it rests as it read.
	paceRest = 9
)

// slowly yields what seq yields, and rests in between so that reading takes a
// tenth of the time. A scan at full speed takes a server and a worker a core each
// for seconds, a quarter of it still more than a busy machine has left, and
// whatever is due meanwhile is late. What the caller does with a value does not
// count: repairs are not to wait. When ctx ends it yields the cause, and stops.
func slowly[V any](ctx context.Context, seq iter.Seq2[V, error]) iter.Seq2[V, error] {
	return func(yield func(V, error) bool) {
		var read time.Duration
		n, begun := 0, time.Now()
		for v, err := range seq {
			read += time.Since(begun)
			if !yield(v, err) {
				return
			}
			if n++; n%paceEvery == 0 {
				if err := sleep(ctx, paceRest*read); err != nil {
					var none V
					yield(none, err)
					return
				}
				read = 0
			}
			begun = time.Now()
		}
	}
}
