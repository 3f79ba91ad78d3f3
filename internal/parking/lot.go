package parking

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// Lot arms, finds and removes slots. It holds nothing of its own: a parked
// order costs a worker no memory. It is safe for concurrent use.
type Lot struct {
	js       jetstream.JetStream
	stream   string
	subjects entrustbus.Subjects
}

// New returns the lot in stream. It does not touch the server.
func New(js jetstream.JetStream, stream string, subjects entrustbus.Subjects) *Lot {
	return &Lot{js: js, stream: stream, subjects: subjects}
}

// Arm parks the order until s.Due, replacing whatever its slot held. Once it
// returns nil the server wakes the order up, whoever dies. It may be repeated.
func (l *Lot) Arm(ctx context.Context, s *Slot) error {
	if _, err := l.js.PublishMsg(ctx, s.message(l.subjects), jetstream.WithExpectStream(l.stream)); err != nil {
		return fmt.Errorf("parking %s: %w", s.Key, err)
	}
	return nil
}

// Disarm removes the slot of an order, if it has one of generation replay or an
// earlier one. A slot that a replay of the order parks meanwhile stays. So does a
// due message that fired already: its handler asks the ledger.
func (l *Lot) Disarm(ctx context.Context, key ledger.Key, replay int) error {
	subject := l.subjects.Parked(key.Producer, key.ID)
	m, err := streams.Last(ctx, l.js, l.stream, subject)
	if errors.Is(err, streams.ErrNoMessage) {
		return nil
	}
	if err == nil {
		if s, err := parse(l.subjects, m.Subject, m.Header, m.Data); err == nil && s.Replay > replay {
			return nil
		}
		var st jetstream.Stream
		if st, err = l.js.Stream(ctx, l.stream); err == nil {
			err = st.Purge(ctx, jetstream.WithPurgeSubject(subject), jetstream.WithPurgeSequence(m.Sequence+1))
		}
	}
	if err != nil {
		return fmt.Errorf("removing the slot of %s: %w", key, err)
	}
	return nil
}

// Armed reports whether the order has a slot of its generation replay, or a due
// message of it that nobody has acknowledged yet, as the stream's leader knows it.
// What an earlier generation left behind, or somebody who is no worker put there,
// will not wake it up; nor will a due message that the server takes for settled.
func (l *Lot) Armed(ctx context.Context, key ledger.Key, replay int) (bool, error) {
	for i, subject := range []string{l.subjects.Parked(key.Producer, key.ID), l.subjects.Due(key.Producer, key.ID)} {
		m, err := streams.Last(ctx, l.js, l.stream, subject)
		if errors.Is(err, streams.ErrNoMessage) {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("looking for the slot of %s: %w", key, err)
		}
		if s, err := parse(l.subjects, m.Subject, m.Header, m.Data); err != nil || s.Replay < replay {
			continue
		}
		if i == 0 {
			return true, nil
		}
		settled, err := l.Settled(ctx)
		return m.Sequence > settled, err
	}
	return false, nil
}

// Slot returns the armed slot of an order, or nil.
func (l *Lot) Slot(ctx context.Context, key ledger.Key) (*Slot, error) {
	m, err := streams.Last(ctx, l.js, l.stream, l.subjects.Parked(key.Producer, key.ID))
	if errors.Is(err, streams.ErrNoMessage) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the slot of %s: %w", key, err)
	}
	s, err := parse(l.subjects, m.Subject, m.Header, m.Data)
	if err != nil {
		return nil, err
	}
	s.Sequence = m.Sequence
	return s, nil
}

// Due reads the due message that a slot became.
func (l *Lot) Due(subject string, header nats.Header, body []byte) (*Slot, error) {
	return parse(l.subjects, subject, header, body)
}
