// Package ledger reads and writes order records in a key-value bucket. What a record
// means, package order says; this one knows compare-and-set, and tells a write whose
// acknowledgement was lost from another writer's.
package ledger

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

// ErrConflict says that the record changed, or came to be, since it was read. Nothing
// was written.
var ErrConflict = errors.New("the ledger record was changed by another writer")

// Ledger reads and writes order records. It is safe for concurrent use.
type Ledger struct {
	js     jetstream.JetStream
	bucket string
	leader *streams.Leader
	marks  marks
}

// New returns the ledger in bucket. It does not touch the server.
func New(js jetstream.JetStream, bucket string) *Ledger {
	return &Ledger{js: js, bucket: bucket, leader: streams.LeaderOf(js, "KV_"+bucket)}
}

// Open looks how many replicas the bucket has, and when it was made. With one, Get asks
// it by direct get, at a third of the cost. It need not be called, and is not safe beside
// other methods.
func (l *Ledger) Open(ctx context.Context) error {
	info, err := l.leader.Open(ctx)
	if err != nil {
		return fmt.Errorf("opening the ledger %s: %w", l.bucket, err)
	}
	l.SetMark(Mark{Made: info.Created})
	return nil
}

func (l *Ledger) stream() string               { return "KV_" + l.bucket }
func (l *Ledger) subject(key order.Key) string { return "$KV." + l.bucket + "." + key.String() }

// Made returns when the bucket was made. Of what was written before, it holds
// nothing: a bucket that is deleted and made again is empty.
func (l *Ledger) Made(ctx context.Context) (time.Time, error) {
	st, err := l.js.Stream(ctx, l.stream())
	if err != nil {
		return time.Time{}, fmt.Errorf("asking for the age of the ledger %s: %w", l.bucket, err)
	}
	return st.CachedInfo().Created, nil
}

// Get reads a record from the leader of the bucket. Where there is none, its phase is
// "". Errors: order.ErrNotARecord, order.ErrNewerFormat (with the record as far as it
// could be read), or one of the server.
func (l *Ledger) Get(ctx context.Context, key order.Key) (order.Stored, error) {
	m, err := l.last(ctx, key)
	switch {
	case errors.Is(err, streams.ErrNoMessage):
		return order.Stored{}, nil
	case err != nil:
		return order.Stored{}, fmt.Errorf("reading the ledger record of %s: %w", key, err)
	}
	return stored(key, m)
}

func stored(key order.Key, m *streams.Message) (order.Stored, error) {
	s := order.Stored{Revision: m.Sequence, At: m.Time.UTC()}
	if m.Deleted() {
		return s, nil // the revision still counts
	}
	var err error
	if s.Record, err = order.Decode(m.Data); err != nil {
		return s, fmt.Errorf("reading the ledger record of %s: %w", key, err)
	}
	return s, nil
}

// last reads the last message of key. A bucket that gets more replicas while this
// process runs may answer with an older one until the next start: a record that is
// acted on is written by compare-and-set first, and that is refused then.
func (l *Ledger) last(ctx context.Context, key order.Key) (*streams.Message, error) {
	return l.leader.Last(ctx, l.subject(key))
}

// Entry is one record as All meets it.
type Entry struct {
	Key order.Key
	order.Stored
}

// All yields every record, in no order that matters, then stops. One that is
// written meanwhile may be yielded again, in its newer form. It holds one batch
// of records at a time: a watch would be sent the whole bucket as fast as the
// server can, and keep what is not yet read in this process's memory. Any
// replica may answer; ask Get where it matters. A record that cannot be decoded
// is yielded as an error, and reading goes on; an error of the server ends it.
func (l *Ledger) All(ctx context.Context) iter.Seq2[Entry, error] { return l.From(ctx, 1) }

// Extent returns which bucket it is and how far it counts, as its leader knows it.
func (l *Ledger) Extent(ctx context.Context) (streams.Extent, error) {
	return streams.ExtentOf(ctx, l.js, l.stream())
}

// Since returns the revision of the first record that was written at an instant or later,
// by the server's clock, 0 where there is none.
func (l *Ledger) Since(ctx context.Context, at time.Time) (uint64, error) {
	m, err := streams.FirstSince(ctx, l.js, l.stream(), at)
	switch {
	case errors.Is(err, streams.ErrNoMessage):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("reading the ledger %s: %w", l.bucket, err)
	}
	return m.Sequence, nil
}

// From is All for the records whose revision is at least this one, in the order of their
// revisions. What cannot be decoded has its revision and time all the same.
func (l *Ledger) From(ctx context.Context, revision uint64) iter.Seq2[Entry, error] {
	// The bucket holds nothing else, and any other filter has nats-server 2.15 match
	// subjects: half a million records took ten times as long.
	return l.entries(streams.ScanFrom(ctx, l.js, l.stream(), ">", revision))
}

// Newest is All for the record that was written last first. A record that is written again
// meanwhile may be missed.
func (l *Ledger) Newest(ctx context.Context) iter.Seq2[Entry, error] {
	return l.entries(streams.ScanBack(ctx, l.js, l.stream(), ">"))
}

// entries reads records off the messages of the bucket.
func (l *Ledger) entries(messages iter.Seq2[*streams.Message, error]) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		prefix := "$KV." + l.bucket + "."
		for m, err := range messages {
			if err != nil {
				yield(Entry{}, fmt.Errorf("reading the ledger %s: %w", l.bucket, err))
				return
			}
			if m.Deleted() {
				continue
			}
			key, err := order.ParseKey(strings.TrimPrefix(m.Subject, prefix))
			if err != nil {
				err = fmt.Errorf("%w: %w", order.ErrNotARecord, err)
			}
			e := Entry{Key: key, Stored: order.Stored{Revision: m.Sequence, At: m.Time.UTC()}}
			if err == nil {
				e.Stored, err = stored(key, m)
			}
			if !yield(e, err) {
				return
			}
		}
	}
}
