package wakeup

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// Store schedules, finds and cancels wake-ups. It keeps no state: a waiting order costs a
// worker no memory. It is safe for concurrent use.
type Store struct {
	js       jetstream.JetStream
	stream   string
	subjects entrustbus.Subjects
}

// New returns the store of the wake-ups in stream. It does not touch the server.
func New(js jetstream.JetStream, stream string, subjects entrustbus.Subjects) *Store {
	return &Store{js: js, stream: stream, subjects: subjects}
}

// Schedule schedules the wake-up w, which replaces the order's earlier one. Once it returns
// nil, the server sends the due message even if every worker dies. It may be repeated.
func (s *Store) Schedule(ctx context.Context, w *order.Wakeup) error {
	if _, err := s.js.PublishMsg(ctx, schedule(s.subjects, w), jetstream.WithExpectStream(s.stream)); err != nil {
		return fmt.Errorf("scheduling a wake-up of %s: %w", w.Key, err)
	}
	return nil
}

// Cancel removes the wake-up of an order, if it is of this generation or an earlier one. It
// keeps a wake-up that a later generation scheduled, a wake-up of a newer format, and any due
// message. The handler of the due message asks the ledger.
func (s *Store) Cancel(ctx context.Context, key order.Key, generation int) error {
	subject := s.subjects.Parked(key.Producer, key.ID)
	m, err := streams.Last(ctx, s.js, s.stream, subject)
	if errors.Is(err, streams.ErrNoMessage) {
		return nil
	}
	if err == nil {
		w, unread := parse(s.subjects, m.Subject, m.Header, m.Data)
		if errors.Is(unread, ErrNewerFormat) || unread == nil && w.Generation > generation {
			return nil
		}
		var st jetstream.Stream
		if st, err = s.js.Stream(ctx, s.stream); err == nil {
			err = st.Purge(ctx, jetstream.WithPurgeSubject(subject), jetstream.WithPurgeSequence(m.Sequence+1))
		}
	}
	if err != nil {
		return fmt.Errorf("cancelling the wake-up of %s: %w", key, err)
	}
	return nil
}

// Find returns the wake-up of an order and its sequence. It returns nil when there is none, and
// when the subject holds a message that is not a wake-up: that message wakes nothing. It
// returns ErrNewerFormat when a newer worker scheduled the wake-up.
func (s *Store) Find(ctx context.Context, key order.Key) (*order.Wakeup, uint64, error) {
	m, err := streams.Last(ctx, s.js, s.stream, s.subjects.Parked(key.Producer, key.ID))
	if errors.Is(err, streams.ErrNoMessage) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("reading the wake-up of %s: %w", key, err)
	}
	w, err := parse(s.subjects, m.Subject, m.Header, m.Data)
	switch {
	case errors.Is(err, ErrNewerFormat):
		return nil, 0, err
	case err != nil:
		return nil, 0, nil
	}
	return w, m.Sequence, nil
}

// FindDue returns the due message of an order as the wake-up it came from, or nil. The server
// removes the schedule when it fires. Where the ledger lost the record, the due message shows
// that the order may have been submitted. FindDue returns ErrNewerFormat as Find does.
func (s *Store) FindDue(ctx context.Context, key order.Key) (*order.Wakeup, error) {
	for _, lane := range order.Lanes() {
		m, err := streams.Last(ctx, s.js, s.stream, s.subjects.Due(string(lane), key.Producer, key.ID))
		if errors.Is(err, streams.ErrNoMessage) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading the due message of %s: %w", key, err)
		}
		w, err := parse(s.subjects, m.Subject, m.Header, m.Data)
		if errors.Is(err, ErrNewerFormat) {
			return nil, err
		}
		if err == nil {
			return w, nil
		}
	}
	return nil, nil
}

// Wakes reports whether a wake-up, or a due message that is not acknowledged yet, will wake
// this generation of the order. It asks the leader of the stream. These do not count: a message
// of an earlier generation, a message of another publisher, and a due message that the server
// counts as acknowledged. A wake-up of a newer format counts, whatever its generation.
func (s *Store) Wakes(ctx context.Context, key order.Key, generation int) (bool, error) {
	subjects := []string{s.subjects.Parked(key.Producer, key.ID)}
	for _, lane := range order.Lanes() {
		subjects = append(subjects, s.subjects.Due(string(lane), key.Producer, key.ID))
	}
	for i, subject := range subjects {
		m, err := streams.Last(ctx, s.js, s.stream, subject)
		if errors.Is(err, streams.ErrNoMessage) {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("looking for a wake-up of %s: %w", key, err)
		}
		w, err := parse(s.subjects, m.Subject, m.Header, m.Data)
		if newer := errors.Is(err, ErrNewerFormat); !newer && (err != nil || w.Generation < generation) {
			continue
		}
		if i == 0 {
			return true, nil
		}
		settled, err := s.Settled(ctx, w.Lane)
		if err != nil || m.Sequence > settled {
			return err == nil, err
		}
	}
	return false, nil
}

// Read parses a due message into its wake-up. For a wake-up of a newer worker it returns
// ErrNewerFormat, with the key of the order.
func (s *Store) Read(subject string, header nats.Header, body []byte) (*order.Wakeup, error) {
	return parse(s.subjects, subject, header, body)
}
