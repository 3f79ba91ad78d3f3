package watchdog

import (
	"context"
	"iter"
	"time"
)

const (
	// restEvery is the number of values after which slowly rests: about a third of one batch.
	restEvery = 500
	// restFactor is how many times as long slowly rests as it read.
	restFactor = 9
)

// slowly yields what seq yields, and rests in between: reading takes a tenth of the time. A
// scan at full speed uses one core of a server and one of a worker for seconds. A quarter of
// that is still more than a busy machine has left, and delays due messages. The time that the
// caller takes for a value does not count: repairs must not wait. When ctx ends, slowly yields
// the cause and stops.
func slowly[V any](ctx context.Context, seq iter.Seq2[V, error]) iter.Seq2[V, error] {
	return func(yield func(V, error) bool) {
		var read time.Duration
		n, begun := 0, time.Now()
		for v, err := range seq {
			read += time.Since(begun)
			if !yield(v, err) {
				return
			}
			if n++; n%restEvery == 0 {
				if err := sleep(ctx, restFactor*read); err != nil {
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
