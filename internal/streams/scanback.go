package streams

import (
	"context"
	"fmt"
	"iter"

	"github.com/nats-io/nats.go/jetstream"
)

// scanWindow is the most sequences that one step of ScanBack spans. maxWindowBytes is the most
// bytes that it holds of them.
const (
	scanWindow     = 1 << 20
	maxWindowBytes = 8 << 20
)

// ScanBack yields the messages of a stream whose subject matches filter, newest first, and
// reads as Scan does. The server reads forward only. So ScanBack reads a window of sequences
// before the last one, and holds the messages of one window. It misses messages that are stored
// while it reads, and so a key of a bucket that is written again meanwhile.
func ScanBack(ctx context.Context, js jetstream.JetStream, stream, filter string) iter.Seq2[*Message, error] {
	return func(yield func(*Message, error) bool) {
		st, err := js.Stream(ctx, stream)
		if err != nil {
			yield(nil, fmt.Errorf("reading the stream %s: %w", stream, err))
			return
		}
		state := st.CachedInfo().State
		if state.Msgs == 0 {
			return
		}
		// A caller that stops soon must not cause thousands of messages. In a stream without
		// holes, one window is one batch.
		size, window := scanBatch/64, uint64(scanBatch/64)
		for upper := state.LastSeq + 1; upper > state.FirstSeq; {
			from := max(state.FirstSeq, upper-min(window, upper))
			read, whole, err := between(ctx, js, stream, filter, from, upper, size)
			if err != nil {
				yield(nil, err)
				return
			}
			if !whole && window > 1 {
				window = max(1, window/4)
				continue
			}
			for i := len(read) - 1; i >= 0; i-- {
				if !yield(read[i], nil) {
					return
				}
			}
			upper = from
			switch {
			case size < scanBatch:
				size, window = 4*size, 4*window
			case len(read) < size/2: // a stream with holes, or a filter that matches few messages
				window = min(4*window, scanWindow)
			}
		}
	}
}

// between reads the messages from one sequence up to another, which is excluded. When they are
// too many to hold, it stops and returns whole as false.
func between(ctx context.Context, js jetstream.JetStream, stream, filter string, from, upper uint64, size int) (read []*Message, whole bool, err error) {
	bytes := 0
	for next := from; next != 0; {
		at := next
		next = 0
		for m, err := range batch(ctx, js, stream, batchQuery{Sequence: at, Next: filter, Batch: size, Bytes: scanBytes}) {
			if err != nil {
				return nil, false, err
			}
			if m.Sequence >= upper {
				return read, true, nil
			}
			if bytes += len(m.Data) + 256; len(read) > 0 && (bytes > maxWindowBytes || len(read) >= 4*scanBatch) {
				return nil, upper-from <= 1, nil
			}
			read, next = append(read, m), m.Sequence+1
		}
		if next >= upper {
			break
		}
	}
	return read, true, nil
}
