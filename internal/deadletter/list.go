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

// ErrNoLetter says that the stream holds no letter of that sequence.
var ErrNoLetter = errors.New("there is no such dead letter")

// UnreadableError is a message among the letters that is none.
type UnreadableError struct {
	Sequence uint64
	Err      error
}

// Error names the message.
func (e *UnreadableError) Error() string {
	return fmt.Sprintf("reading dead letter %d: %v", e.Sequence, e.Err)
}

// Unwrap returns what is wrong with it.
func (e *UnreadableError) Unwrap() error { return e.Err }

// Filter chooses letters. A field's zero value chooses all; a letter must fit
// every other one. A list of sequences that is empty but not nil chooses none.
type Filter struct {
	Reasons  []order.Reason
	Producer string
	Kind     entrustbus.Kind
	ID       string
	// Before and After bound when the request died, exclusively.
	Before, After time.Time
	// Sequences are places in the stream; nil is every place.
	Sequences []uint64
	// Behind is the place in the stream that List begins behind; 0 is its begin.
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

// subject is the narrowest subject filter that misses nothing of f.
func (f *Filter) subject(subjects entrustbus.Subjects) string {
	reason := "*"
	if len(f.Reasons) == 1 {
		reason = string(f.Reasons[0])
	}
	return subjects.Dead(cmp.Or(f.Producer, "*"), reason)
}

// List yields the letters that f chooses, oldest first, one at a time. Letters
// that die while it reads are met too. A message that is no letter is yielded as
// an *UnreadableError, and the list goes on; an error of the server ends it.
//
// It asks whichever replica answers, so a letter of this very moment may be
// missed. Nothing that matters depends on that: a letter never changes.
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

// pick yields the letters of known sequences. One that is gone is yielded as
// ErrNoLetter.
func (b *Box) pick(ctx context.Context, f Filter) iter.Seq2[*Letter, error] {
	return func(yield func(*Letter, error) bool) {
		st, err := b.stored(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		sequences := f.Sequences
		f.Sequences = nil // fits by itself; Match would search the list for each
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

// Get reads one letter by its place in the stream. It returns ErrNoLetter when
// there is none.
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
		// Somebody else put it there; when it came is the best guess.
		l.Time = at.UTC()
	}
	return l, nil
}

// Newest returns the place of the newest message in the stream, 0 where there
// never was one. Letters that die later have a higher one.
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
