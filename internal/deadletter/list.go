package deadletter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// ErrNoLetter says that the stream holds no dead letter with that sequence.
var ErrNoLetter = errors.New("there is no such dead letter")

// UnreadableError says that a message in the stream is not a dead letter.
type UnreadableError struct {
	Sequence uint64
	Err      error
}

// Error names the message by its sequence.
func (e *UnreadableError) Error() string {
	return fmt.Sprintf("reading dead letter %d: %v", e.Sequence, e.Err)
}

// Unwrap returns why the message is not a dead letter.
func (e *UnreadableError) Unwrap() error { return e.Err }

// Filter chooses dead letters. A field with its zero value matches all. A dead letter must
// match every other field. A list of sequences that is empty but not nil matches none.
type Filter struct {
	Reasons  []order.Reason
	Producer string
	Kind     entrustbus.Kind
	ID       string
	// Before and After bound when the request ended, exclusively.
	Before, After time.Time
	// Sequences are sequences in the stream; nil matches all.
	Sequences []uint64
	// Behind is the last sequence that List skips; 0 skips none.
	Behind uint64
}

// Match reports whether the filter chooses l.
func (f *Filter) Match(l *Letter) bool {
	return (len(f.Reasons) == 0 || slices.Contains(f.Reasons, l.Reason)) &&
		(f.Producer == "" || f.Producer == l.Key.Producer) &&
		(f.Kind == "" || f.Kind == l.Kind) &&
		(f.ID == "" || f.ID == l.Key.ID) &&
		(f.Before.IsZero() || l.Time.Before(f.Before)) &&
		(f.After.IsZero() || l.Time.After(f.After)) &&
		(f.Sequences == nil || slices.Contains(f.Sequences, l.Sequence))
}

// subject is the narrowest subject filter that matches everything f matches.
func (f *Filter) subject(subjects entrustbus.Subjects) string {
	reason := "*"
	if len(f.Reasons) == 1 {
		reason = string(f.Reasons[0])
	}
	return subjects.Dead(cmp.Or(f.Producer, "*"), reason)
}

// List yields the dead letters that f matches, oldest first. It also yields dead letters that
// are published while it reads. A message that is not a dead letter is yielded as an
// *UnreadableError, and List continues. It stops after an error of the server.
//
// Any replica may answer, so List may miss a dead letter that was published a moment ago. No
// decision depends on that: a dead letter never changes.
func (b *Box) List(ctx context.Context, f Filter) iter.Seq2[*Letter, error] {
	if f.Sequences != nil {
		return b.pick(ctx, f)
	}
	return func(yield func(*Letter, error) bool) {
		for m, err := range streams.ScanFrom(ctx, b.js, b.stream, f.subject(b.subjects), f.Behind+1) {
			if err != nil {
				yield(nil, err)
				return
			}
			l, err := b.parse(m.Sequence, m.Time, m.Subject, m.Header, m.Data)
			if err != nil {
				if !yield(nil, err) {
					return
				}
				continue
			}
			if f.Match(l) && !yield(l, nil) {
				return
			}
		}
	}
}

// pick yields the dead letters with known sequences. A missing one is yielded as ErrNoLetter.
func (b *Box) pick(ctx context.Context, f Filter) iter.Seq2[*Letter, error] {
	return func(yield func(*Letter, error) bool) {
		st, err := b.stored(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		sequences := f.Sequences
		f.Sequences = nil // each one matches; Match would search the list again
		for _, sequence := range sequences {
			l, err := b.read(ctx, st, sequence)
			if err == nil && !f.Match(l) {
				continue
			}
			if !yield(l, err) {
				return
			}
		}
	}
}

// Get reads one dead letter by its sequence in the stream. It returns ErrNoLetter when there is
// none.
func (b *Box) Get(ctx context.Context, sequence uint64) (*Letter, error) {
	st, err := b.stored(ctx)
	if err != nil {
		return nil, err
	}
	return b.read(ctx, st, sequence)
}

func (b *Box) read(ctx context.Context, st jetstream.Stream, sequence uint64) (*Letter, error) {
	m, err := st.GetMsg(ctx, sequence)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return nil, fmt.Errorf("reading dead letter %d: %w", sequence, ErrNoLetter)
	case err != nil:
		return nil, fmt.Errorf("reading dead letter %d: %w", sequence, err)
	}
	return b.parse(m.Sequence, m.Time, m.Subject, m.Header, m.Data)
}

func (b *Box) parse(sequence uint64, at time.Time, subject string, header nats.Header, body []byte) (*Letter, error) {
	l, err := Parse(b.subjects, sequence, subject, header, body)
	if err != nil {
		return nil, &UnreadableError{sequence, err}
	}
	if l.Time.IsZero() {
		// Another publisher wrote it. The time of storage is the best guess.
		l.Time = at.UTC()
	}
	return l, nil
}

// Newest returns the sequence of the newest message in the stream, or 0 when the stream never
// had one. Later dead letters have a higher sequence.
func (b *Box) Newest(ctx context.Context) (uint64, error) {
	st, err := b.stored(ctx)
	if err != nil {
		return 0, err
	}
	return st.CachedInfo().State.LastSeq, nil
}

// stored opens the stream for reads and deletions by sequence.
func (b *Box) stored(ctx context.Context) (jetstream.Stream, error) {
	st, err := b.js.Stream(ctx, b.stream)
	if err != nil {
		return nil, fmt.Errorf("opening the dead letters %s: %w", b.stream, err)
	}
	return st, nil
}
