package wakeup

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// ErrNotAWakeup says that a message in the stream is neither wake-up nor due message:
// no worker put it there.
var ErrNotAWakeup = errors.New("not a wake-up")

// Found is one wake-up as a scan met it, or a due message that waits for a worker.
type Found struct {
	*order.Wakeup
	Sequence uint64
	Stored   time.Time // when the stream took it, by the clock of its server
	Fired    bool
}

// Extent returns which stream it is and how far it counts, as its leader knows it.
func (s *Store) Extent(ctx context.Context) (streams.Extent, error) {
	return streams.ExtentOf(ctx, s.js, s.stream)
}

// All yields every wake-up and due message, once over. It reads the stream forward
// without a consumer: one that fires, or is scheduled again, meanwhile moves ahead of
// the scan and is met there. It holds one batch at a time. A message that is neither is
// yielded as ErrNotAWakeup, and one of a newer format as ErrNewerFormat with its key and
// place alone; the scan goes on. An error of the server ends it.
func (s *Store) All(ctx context.Context) iter.Seq2[Found, error] {
	return s.found(streams.Scan(ctx, s.js, s.stream, ">"))
}

// Newest is All for the one that was scheduled last first. One that fires, or is scheduled
// again, meanwhile may be missed.
func (s *Store) Newest(ctx context.Context) iter.Seq2[Found, error] {
	return s.found(streams.ScanBack(ctx, s.js, s.stream, ">"))
}

// found reads wake-ups and due messages off the messages of the stream.
func (s *Store) found(messages iter.Seq2[*streams.Message, error]) iter.Seq2[Found, error] {
	parked, _, _ := strings.Cut(s.subjects.ParkedFilter(), "*")
	return func(yield func(Found, error) bool) {
		for m, err := range messages {
			if err != nil {
				yield(Found{}, err)
				return
			}
			w, err := parse(s.subjects, m.Subject, m.Header, m.Data)
			f := Found{Wakeup: w, Sequence: m.Sequence, Stored: m.Time.UTC(), Fired: !strings.HasPrefix(m.Subject, parked)}
			if err != nil && !errors.Is(err, ErrNewerFormat) {
				f, err = Found{Sequence: m.Sequence, Stored: m.Time.UTC()}, fmt.Errorf("%w: %w", ErrNotAWakeup, err)
			}
			if !yield(f, err) {
				return
			}
		}
	}
}

// Reschedule schedules again a wake-up whose time has passed without a due message, as
// a fire that could not be stored leaves it. It does so only where the wake-up is still
// the one that was read as sequence; a change means that it was handled, and
// Reschedule returns false.
func (s *Store) Reschedule(ctx context.Context, w *order.Wakeup, sequence uint64) (bool, error) {
	_, err := s.js.PublishMsg(ctx, schedule(s.subjects, w), jetstream.WithExpectStream(s.stream),
		jetstream.WithExpectLastSequencePerSubject(sequence))
	if streams.IsConflict(err) {
		return false, nil
	}
	return err == nil, err
}

// Settled returns the stream sequence up to which every due message of a lane is
// acknowledged, as the leader of its consumer knows it. One that is in the stream all
// the same will never be delivered. A server that is killed leaves some: it forgets the
// removal of a message and remembers its acknowledgement.
func (s *Store) Settled(ctx context.Context, lane order.Lane) (uint64, error) {
	name := streams.DueConsumer(string(lane))
	c, err := s.js.Consumer(ctx, s.stream, name)
	if err != nil {
		return 0, fmt.Errorf("reading the consumer %s: %w", name, err)
	}
	return c.CachedInfo().AckFloor.Stream, nil
}

// Discard removes a settled due message by its sequence. Purging its subject would make
// the consumer forget others.
func (s *Store) Discard(ctx context.Context, sequence uint64) error {
	st, err := s.js.Stream(ctx, s.stream)
	if err == nil {
		err = st.DeleteMsg(ctx, sequence)
	}
	if errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
		// The client does not say whether there is none: a replica that lags may have
		// shown the message, so only the leader can.
		if _, gone := streams.At(ctx, s.js, s.stream, sequence); errors.Is(gone, streams.ErrNoMessage) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("removing the settled message %d of %s: %w", sequence, s.stream, err)
	}
	return nil
}
