// Package ledger reads and writes order records in a key-value bucket. It writes by
// compare-and-set, and recognises its own write whose acknowledgement was lost. Package order
// says what a record means.
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

// ErrConflict says that the record changed, or was created, since it was read. The write stored
// nothing.
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

// Open reads how many replicas the bucket has, and when it was made. A bucket with one replica
// is read by direct get, at a third of the cost. Open is optional. Call it before any other
// method: it is not safe beside them.
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

// Made returns when the bucket was made. A bucket that was deleted and made again has lost
// every record that was written before.
func (l *Ledger) Made(ctx context.Context) (time.Time, error) {
	st, err := l.js.Stream(ctx, l.stream())
	if err != nil {
		return time.Time{}, fmt.Errorf("asking for the age of the ledger %s: %w", l.bucket, err)
	}
	return st.CachedInfo().Created, nil
}

// Get reads a record from the leader of the bucket. Without a record it returns phase "" and no
// error. Errors: order.ErrNotARecord, order.ErrNewerFormat (with the fields that this worker
// could read), or an error of the server.
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
		return s, nil // the next write needs the revision of the deletion
	}
	var err error
	if s.Record, err = order.Decode(m.Data); err != nil {
		return s, fmt.Errorf("reading the ledger record of %s: %w", key, err)
	}
	return s, nil
}

// last reads the last message of key. While the bucket gets more replicas, direct gets may
// answer with an older message until the next start of this process. That is safe: every action
// begins with a compare-and-set, which then fails.
func (l *Ledger) last(ctx context.Context, key order.Key) (*streams.Message, error) {
	return l.leader.Last(ctx, l.subject(key))
}

// Entry is one record that All, From or Newest yields.
type Entry struct {
	Key order.Key
	order.Stored
}

// All yields every record once, in no particular order, then stops. A record that is written
// meanwhile may be yielded again, in its newer form. Any replica may answer; call Get where a
// decision depends on the record. A record that cannot be decoded is yielded as an error, and
// All continues. It stops after an error of the server.
//
// All holds one batch of records at a time. A watch would hold the whole bucket in memory: the
// server sends it faster than the caller reads.
func (l *Ledger) All(ctx context.Context) iter.Seq2[Entry, error] { return l.From(ctx, 1) }

// Extent returns when the bucket was made and its last revision, as its leader knows them.
func (l *Ledger) Extent(ctx context.Context) (streams.Extent, error) {
	return streams.ExtentOf(ctx, l.js, l.stream())
}

// Since returns the revision of the first record that was written at that instant or later, by
// the server's clock. It returns 0 without such a record.
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

// From is All for the records whose revision is at least this one, ordered by revision. An
// entry that cannot be decoded still has its revision and time.
func (l *Ledger) From(ctx context.Context, revision uint64) iter.Seq2[Entry, error] {
	// The bucket holds nothing but records. With any narrower filter nats-server 2.15 matches
	// subjects: half a million records then took ten times as long.
	return l.entries(streams.ScanFrom(ctx, l.js, l.stream(), ">", revision))
}

// Newest is All with the record that was written last first. It may miss a record that is
// written again meanwhile.
func (l *Ledger) Newest(ctx context.Context) iter.Seq2[Entry, error] {
	return l.entries(streams.ScanBack(ctx, l.js, l.stream(), ">"))
}

// entries decodes the messages of the bucket.
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
