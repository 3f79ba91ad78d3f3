package ledger

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/entrust-worker/entrust-worker/internal/streams"
)

var (
	// ErrConflict says that the record changed, or came to be, since it was
	// read. Nothing was written.
	ErrConflict = errors.New("the ledger record was changed by another writer")
	// ErrNotARecord says that something in the bucket is no record of an order.
	ErrNotARecord = errors.New("not a ledger record")
	// ErrNoRecord says that the ledger does not know the order.
	ErrNoRecord = errors.New("the ledger does not know the order")

	errInProcess = errors.New("another write of the record is in process")
)

// attempts bounds how often one write is sent while its fate is unknown; tryWait
// is how long each waits for its acknowledgement.
const (
	attempts = 4
	tryWait  = 3 * time.Second
)

// Ledger reads and writes order records. It is safe for concurrent use.
type Ledger struct {
	js     jetstream.JetStream
	bucket string
	// single is the bucket where it has one replica, else nil.
	single jetstream.Stream
}

// New returns the ledger in bucket. It does not touch the server.
func New(js jetstream.JetStream, bucket string) *Ledger {
	return &Ledger{js: js, bucket: bucket}
}

// Open looks how many replicas the bucket has. With one, Get asks it by direct
// get, at a third of the cost. It need not be called, and is not safe beside
// other methods.
func (l *Ledger) Open(ctx context.Context) error {
	st, err := l.js.Stream(ctx, l.stream())
	if err != nil {
		return fmt.Errorf("opening the ledger %s: %w", l.bucket, err)
	}
	if cfg := st.CachedInfo().Config; cfg.Replicas == 1 && cfg.AllowDirect {
		l.single = st
	}
	return nil
}

func (l *Ledger) stream() string         { return "KV_" + l.bucket }
func (l *Ledger) subject(key Key) string { return "$KV." + l.bucket + "." + key.String() }

// Made returns when the bucket was made. Of what was written before, it holds
// nothing: a bucket that is deleted and made again begins anew.
func (l *Ledger) Made(ctx context.Context) (time.Time, error) {
	st, err := l.js.Stream(ctx, l.stream())
	if err != nil {
		return time.Time{}, fmt.Errorf("asking for the age of the ledger %s: %w", l.bucket, err)
	}
	return st.CachedInfo().Created, nil
}

// Get reads a record from the leader of the bucket. It returns ErrNoRecord when
// there is none.
func (l *Ledger) Get(ctx context.Context, key Key) (*Record, error) {
	m, err := l.last(ctx, key)
	switch {
	case errors.Is(err, streams.ErrNoMessage):
		return nil, ErrNoRecord
	case err != nil:
		return nil, fmt.Errorf("reading the ledger record of %s: %w", key, err)
	case m.Header.Get("KV-Operation") != "":
		// A record that somebody deleted by hand: the revision still counts.
		return nil, ErrNoRecord
	}
	return Decode(key, m.Sequence, m.Data)
}

// last reads the last message of key. A bucket that gets more replicas while this
// process runs may answer with an older one until the next start: whoever acts on
// a record writes it by compare-and-set first, and is refused then.
func (l *Ledger) last(ctx context.Context, key Key) (*streams.Message, error) {
	if l.single == nil {
		return streams.Last(ctx, l.js, l.stream(), l.subject(key))
	}
	m, err := l.single.GetLastMsgForSubject(ctx, l.subject(key))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, streams.ErrNoMessage
	}
	if err != nil {
		return nil, err
	}
	return &streams.Message{Sequence: m.Sequence, Time: m.Time, Subject: m.Subject, Header: m.Header, Data: m.Data}, nil
}

// Create writes the first record of key. It returns ErrConflict when the ledger
// knows the order already.
func (l *Ledger) Create(ctx context.Context, key Key, r *Record) error {
	if !r.unsettled {
		r.revision = 0
	}
	r.key = key
	return l.write(ctx, r)
}

// Update writes r over the revision that it was read or written as. It returns
// ErrConflict when that is no longer the last one.
func (l *Ledger) Update(ctx context.Context, r *Record) error {
	return l.write(ctx, r)
}

// write sends one compare-and-set. An acknowledgement that does not come leaves
// the fate of the write unknown: it is sent again with the same nonce, by this
// call and by the caller's next one, and a conflict is looked at before it is
// believed.
func (l *Ledger) write(ctx context.Context, r *Record) error {
	earlier := r.unsettled
	if !earlier {
		r.Nonce = nuid.Next()
	}
	r.UpdatedAt = time.Now().UTC()
	data, err := msgpack.Marshal(r)
	if err != nil {
		return fmt.Errorf("encoding the ledger record of %s: %w", r.key, err)
	}
	msg := &nats.Msg{Subject: streams.PublishSubject(l.js, l.subject(r.key)), Data: data, Header: nats.Header{
		jetstream.ExpectedLastSubjSeqHeader: {strconv.FormatUint(r.revision, 10)},
	}}
	for range attempts {
		try, cancel := context.WithTimeout(ctx, tryWait)
		var ack *jetstream.PubAck
		ack, err = l.js.PublishMsg(try, msg)
		cancel()
		switch {
		case err == nil:
			r.revision, r.unsettled = ack.Sequence, false
			return nil
		case streams.IsConflict(err):
			return l.conflict(ctx, r, earlier)
		}
		r.unsettled = true
		if ctx.Err() != nil {
			return fmt.Errorf("writing the ledger record of %s: %w", r.key, context.Cause(ctx))
		}
		if streams.Trouble(err) != "" {
			break
		}
	}
	return fmt.Errorf("writing the ledger record of %s: %w", r.key, err)
}

// conflict tells our own earlier write, whose acknowledgement was lost, from
// another's. One that an earlier call sent may hold what the record said then,
// so it is written over. Where the record still is what r says, the server
// refused the write since it has another one in process, which may be our own
// and is stored a moment later: nothing is decided yet. A record that is gone,
// with its bucket or by hand, is nobody's, and is written anew.
func (l *Ledger) conflict(ctx context.Context, r *Record, earlier bool) error {
	m, err := streams.Last(ctx, l.js, l.stream(), l.subject(r.key))
	stored := uint64(0)
	switch {
	case err == nil:
		stored = m.Sequence
	case !errors.Is(err, streams.ErrNoMessage):
		return fmt.Errorf("reading the ledger record of %s after a conflict: %w", r.key, err)
	}
	if stored == r.revision {
		return fmt.Errorf("writing the ledger record of %s: %w", r.key, errInProcess)
	}
	if m == nil || m.Header.Get("KV-Operation") != "" {
		r.revision = stored
		return l.write(ctx, r)
	}
	if !r.unsettled {
		return ErrConflict
	}
	now, err := Decode(r.key, m.Sequence, m.Data)
	if err != nil {
		return err
	}
	if now.Nonce != r.Nonce {
		return ErrConflict
	}
	r.revision, r.unsettled = m.Sequence, false
	if earlier {
		return l.write(ctx, r)
	}
	return nil
}

// All yields every record, in no order that matters, then stops. One that is
// written meanwhile may be yielded again, in its newer form. It holds one batch
// of records at a time: a watch would be sent the whole bucket as fast as the
// server can, and keep what is not yet read in this process's memory. Any
// replica may answer; ask Get where it matters. A record that cannot be decoded
// is yielded as an error, and reading goes on; an error of the server ends it.
func (l *Ledger) All(ctx context.Context) iter.Seq2[*Record, error] {
	return func(yield func(*Record, error) bool) {
		prefix := "$KV." + l.bucket + "."
		// The bucket holds nothing else, and any other filter has nats-server 2.15 match
		// subjects: half a million records took ten times as long.
		for m, err := range streams.Scan(ctx, l.js, l.stream(), ">") {
			if err != nil {
				yield(nil, fmt.Errorf("reading the ledger %s: %w", l.bucket, err))
				return
			}
			if m.Header.Get("KV-Operation") != "" {
				continue // deleted by hand
			}
			key, err := ParseKey(strings.TrimPrefix(m.Subject, prefix))
			if err != nil {
				err = fmt.Errorf("%w: %w", ErrNotARecord, err)
			}
			var r *Record
			if err == nil {
				r, err = Decode(key, m.Sequence, m.Data)
			}
			if !yield(r, err) {
				return
			}
		}
	}
}
