package streams

import (
	"context"
	"fmt"
	"iter"

	"github.com/nats-io/nats.go/jetstream"
)

// scanWindow bounds how many sequences one step of ScanBack spans, and heldBytes how much of
// them it holds.
const (
	scanWindow = 1 << 20
	heldBytes  = 8 << 20
)

// ScanBack yields the messages of a stream whose subject matches filter, the newest first, as
// Scan reads them. The server reads forward only, so that ScanBack reads a window of sequences
// behind the last one, and holds the messages of one window. What is stored while it reads is
// not met: neither is a message of a bucket whose key is written again meanwhile.
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
		// A caller that stops soon is not sent thousands of messages. A window of a stream
		// without holes is one batch.
		size, window := scanBatch/64, uint64(scanBatch/64)
		for upper := state.LastSeq + 1; upper > state.FirstSeq; {
			from := max(state.FirstSeq, upper-min(window, upper))
			held, whole, err := between(ctx, js, stream, filter, from, upper, size)
			if err != nil {
				yield(nil, err)
				return
			}
			if !whole && window > 1 {
				window = max(1, window/4)
				continue
			}
			for i := len(held) - 1; i >= 0; i-- {
				if !yield(held[i], nil) {
					return
				}
			}
			upper = from
			switch {
			case size < scanBatch:
				size, window = 4*size, 4*window
			case len(held) < size/2: // a stream with holes, or a filter that few fit
				window = min(4*window, scanWindow)
			}
		}
	}
}

// between reads the messages from one sequence up to another, which is not among them. It gives
// up where they are too many to hold: then whole is false.
func between(ctx context.Context, js jetstream.JetStream, stream, filter string, from, upper uint64, size int) (held []*Message, whole bool, err error) {
	bytes := 0
	for next := from; next != 0; {
		at := next
		next = 0
		for m, err := range batch(ctx, js, stream, batchQuery{Sequence: at, Next: filter, Batch: size, Bytes: scanBytes}) {
			if err != nil {
				return nil, false, err
			}
			if m.Sequence >= upper {
				return held, true, nil
			}
			if bytes += len(m.Data) + 256; len(held) > 0 && (bytes > heldBytes || len(held) >= 4*scanBatch) {
				return nil, upper-from <= 1, nil
			}
			held, next = append(held, m), m.Sequence+1
		}
		if next >= upper {
			break
		}
	}
	return held, true, nil
}
