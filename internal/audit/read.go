package audit

import (
	"context"
	"iter"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// Read yields the messages of the trail from a sequence on, then stops. Any replica may
// answer. An error is the last value that it yields.
func Read(ctx context.Context, js jetstream.JetStream, stream string, from uint64) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		for m, err := range streams.ScanFrom(ctx, js, stream, ">", from) {
			if err != nil {
				yield(Message{}, err)
				return
			}
			if !yield(Message{
				Sequence: m.Sequence, Subject: m.Subject, Stored: m.Time, Body: m.Data, Signature: m.Header.Get(HeaderSignature),
			}, nil) {
				return
			}
		}
	}
}
