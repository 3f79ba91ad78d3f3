package parking

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// ErrNoSlot says that a message in the stream is neither slot nor wake-up: no
// worker put it there.
var ErrNoSlot = errors.New("not a parked order")

// Found is one parked order as a scan met it: an armed slot, or a due message
// that waits for a worker.
type Found struct {
	*Slot
	Fired bool
}

// All yields every slot and due message, once over. It reads the stream forward
// without a consumer: an order that fires, or is parked again, meanwhile moves
// ahead of the scan and is met there. It holds one batch at a time. A message
// that is no slot is yielded as ErrNoSlot, and the scan goes on; an error of the
// server ends it.
func (l *Lot) All(ctx context.Context) iter.Seq2[Found, error] {
	due, _, _ := strings.Cut(l.subjects.DueFilter(), "*")
	return func(yield func(Found, error) bool) {
		for m, err := range streams.Scan(ctx, l.js, l.stream, ">") {
			if err != nil {
				yield(Found{}, err)
				return
			}
			s, err := parse(l.subjects, m.Subject, m.Header, m.Data)
			if err != nil {
				if !yield(Found{}, fmt.Errorf("%w: %w", ErrNoSlot, err)) {
					return
				}
				continue
			}
			s.Sequence = m.Sequence
			if !yield(Found{Slot: s, Fired: strings.HasPrefix(m.Subject, due)}, nil) {
				return
			}
		}
	}
}

// Rescue arms a slot again whose time has passed without a wake-up, as a fire
// that could not be stored leaves it. It does so only where the slot is still
// the one that was read; a change means that somebody looked after it, and
// Rescue returns false.
func (l *Lot) Rescue(ctx context.Context, s *Slot) (bool, error) {
	_, err := l.js.PublishMsg(ctx, s.message(l.subjects), jetstream.WithExpectStream(l.stream),
		jetstream.WithExpectLastSequencePerSubject(s.Sequence))
	if streams.IsConflict(err) {
		return false, nil
	}
	return err == nil, err
}

// Settled returns the stream sequence up to which every due message is
// acknowledged, as the leader of the consumer knows it. One that is in the stream
// all the same will never be delivered. A server that is killed leaves some: it
// forgets the removal of a wake-up and remembers its acknowledgement. Should it
// forget messages that were not acknowledged, as nats-server does where somebody
// purges a due subject, they lie below it too.
func (l *Lot) Settled(ctx context.Context) (uint64, error) {
	c, err := l.js.Consumer(ctx, l.stream, streams.ConsumerDue)
	if err != nil {
		return 0, fmt.Errorf("reading the consumer %s: %w", streams.ConsumerDue, err)
	}
	return c.CachedInfo().AckFloor.Stream, nil
}

// Discard removes a settled due message by its sequence. Purging its subject
// would make the consumer forget others.
func (l *Lot) Discard(ctx context.Context, sequence uint64) error {
	st, err := l.js.Stream(ctx, l.stream)
	if err == nil {
		err = st.DeleteMsg(ctx, sequence)
	}
	if errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
		// The client does not say whether there is none: a replica that lags may
		// have shown the message, so only the leader can.
		if _, gone := streams.At(ctx, l.js, l.stream, sequence); errors.Is(gone, streams.ErrNoMessage) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("removing the settled message %d of %s: %w", sequence, l.stream, err)
	}
	return nil
}
