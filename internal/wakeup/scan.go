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

// ErrNotAWakeup says that a message in the stream is neither a wake-up nor a due message. No
// worker published it.
var ErrNotAWakeup = errors.New("not a wake-up")

// Found is one wake-up, or one due message that waits for a worker, as a scan read it.
type Found struct {
	*order.Wakeup
	Sequence uint64
	Stored   time.Time // when the stream stored it, by the clock of its server
	Fired    bool      // it is a due message
}

// Extent returns when the stream was made and its last sequence, as its leader knows them.
func (s *Store) Extent(ctx context.Context) (streams.Extent, error) {
	return streams.ExtentOf(ctx, s.js, s.stream)
}

// All yields every wake-up and due message once. It reads the stream forward without a
// consumer. A wake-up that fires or is scheduled again meanwhile moves to the end of the
// stream, and All yields it there. All holds one batch of messages at a time. Any other message
// is yielded as ErrNotAWakeup. One of a newer format is yielded as ErrNewerFormat, with key and
// sequence only. In both cases All continues. It stops after an error of the server.
func (s *Store) All(ctx context.Context) iter.Seq2[Found, error] {
	return s.found(streams.Scan(ctx, s.js, s.stream, ">"))
}

// Newest is All with the wake-up that was scheduled last first. It may miss a wake-up that
// fires or is scheduled again meanwhile.
func (s *Store) Newest(ctx context.Context) iter.Seq2[Found, error] {
	return s.found(streams.ScanBack(ctx, s.js, s.stream, ">"))
}

// found parses the messages of the stream.
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

// Reschedule schedules a wake-up again whose time has passed without a due message. That
// happens when the server could not store the due message. It returns false when the wake-up is
// no longer the message with this sequence: then a worker has handled it.
func (s *Store) Reschedule(ctx context.Context, w *order.Wakeup, sequence uint64) (bool, error) {
	_, err := s.js.PublishMsg(ctx, schedule(s.subjects, w), jetstream.WithExpectStream(s.stream),
		jetstream.WithExpectLastSequencePerSubject(sequence))
	if streams.IsConflict(err) {
		return false, nil
	}
	return err == nil, err
}

// Settled returns the stream sequence up to which every due message of a lane is acknowledged,
// as the leader of its consumer knows it. The server will never deliver a message up to that
// sequence, even if the stream still holds it. A killed server leaves such messages: it forgets
// the removal of a message and keeps its acknowledgement.
func (s *Store) Settled(ctx context.Context, lane order.Lane) (uint64, error) {
	name := streams.DueConsumer(string(lane))
	c, err := s.js.Consumer(ctx, s.stream, name)
	if err != nil {
		return 0, fmt.Errorf("reading the consumer %s: %w", name, err)
	}
	return c.CachedInfo().AckFloor.Stream, nil
}

// Discard removes a settled due message by its sequence. A purge of its subject would make the
// consumer forget other messages.
func (s *Store) Discard(ctx context.Context, sequence uint64) error {
	st, err := s.js.Stream(ctx, s.stream)
	if err == nil {
		err = st.DeleteMsg(ctx, sequence)
	}
	if errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
		// The client does not report that the message is missing. A lagging replica may have
		// yielded it, so ask the leader.
		if _, gone := streams.At(ctx, s.js, s.stream, sequence); errors.Is(gone, streams.ErrNoMessage) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("removing the settled message %d of %s: %w", sequence, s.stream, err)
	}
	return nil
}
