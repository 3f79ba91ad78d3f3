package ledger

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// headerNonce is the header with the random value that identifies one write.
const headerNonce = "Entrust-Nonce"

var errInProcess = errors.New("another write of the record is in process")

// Write is one compare-and-set of a record. Try may be repeated until it succeeds: it
// recognises by the nonce an earlier try whose acknowledgement was lost. A Write is not safe
// for concurrent use.
type Write struct {
	l        *Ledger
	key      order.Key
	record   order.Record
	revision uint64
	nonces   []string // of writes of this record that were sent and are not acknowledged
}

// Write prepares to write next over cur, which is the record as it was read, or the zero
// Stored. after may be nil, or an earlier write of the same record that may have been stored.
// Then next replaces that one too.
func (l *Ledger) Write(key order.Key, cur order.Stored, next order.Record, after *Write) *Write {
	w := &Write{l: l, key: key, record: next, revision: cur.Revision}
	if after != nil {
		w.nonces = after.nonces
	}
	return w
}

// Try sends the write. It returns ErrConflict when another writer was first; repeating Try then
// writes nothing.
func (w *Write) Try(ctx context.Context) (order.Stored, error) {
	data, err := w.record.Encode()
	if err != nil {
		return order.Stored{}, fmt.Errorf("encoding the ledger record of %s: %w", w.key, err)
	}
	for range attempts {
		msg, nonce := w.message(data)
		ack, err := w.send(ctx, msg)
		switch {
		case err == nil:
			w.l.acked(w.key, ack.Sequence)
			return order.Stored{Record: w.record, Revision: ack.Sequence, At: time.Now().UTC()}, nil
		case !streams.IsConflict(err):
			w.nonces = append(w.nonces, nonce)
			return order.Stored{}, fmt.Errorf("writing the ledger record of %s: %w", w.key, err)
		}
		if s, done, err := w.conflict(ctx); done || err != nil {
			return s, err
		}
	}
	return order.Stored{}, fmt.Errorf("writing the ledger record of %s: %w", w.key, errInProcess)
}

// message builds one write of an encoded record over the known revision.
func (w *Write) message(data []byte) (msg *nats.Msg, nonce string) {
	nonce = nuid.Next()
	return &nats.Msg{Subject: streams.PublishSubject(w.l.js, w.l.subject(w.key)), Data: data, Header: nats.Header{
		jetstream.ExpectedLastSubjSeqHeader: {strconv.FormatUint(w.revision, 10)},
		headerNonce:                         {nonce},
	}}, nonce
}

// attempts is how often one Try sends the write after it found the revision free. tryWait is
// how long each attempt waits for its acknowledgement.
const (
	attempts = 3
	tryWait  = 3 * time.Second
)

func (w *Write) send(ctx context.Context, msg *nats.Msg) (*jetstream.PubAck, error) {
	ctx, cancel := context.WithTimeout(ctx, tryWait)
	defer cancel()
	return w.l.js.PublishMsg(ctx, msg)
}

// conflict decides why the server refused a write. It has these cases:
//
//	record            reason                                                 result
//	as it was read    the server still processes another write, maybe ours   errInProcess
//	missing           the bucket, or the last writes of the bus, were lost,  ErrConflict
//	                  and results and wake-ups perhaps too
//	deleted by hand   it belongs to no writer                                try again
//	our nonce         the acknowledgement of our write was lost              done, or write again
//	any other         another writer was first                               ErrConflict
func (w *Write) conflict(ctx context.Context) (s order.Stored, done bool, err error) {
	m, err := streams.Last(ctx, w.l.js, w.l.stream(), w.l.subject(w.key))
	switch {
	case errors.Is(err, streams.ErrNoMessage):
		if w.revision == 0 {
			return s, false, fmt.Errorf("writing the ledger record of %s: %w", w.key, errInProcess)
		}
		return s, true, ErrConflict
	case err != nil:
		return s, false, fmt.Errorf("reading the ledger record of %s after a conflict: %w", w.key, err)
	case m.Sequence == w.revision:
		return s, false, fmt.Errorf("writing the ledger record of %s: %w", w.key, errInProcess)
	case m.Deleted():
		w.revision = m.Sequence
		return s, false, nil
	}
	for _, nonce := range w.nonces {
		if m.Header.Get(headerNonce) != nonce {
			continue
		}
		// It is ours. It holds this record, or an earlier one that this write follows.
		if s, err = stored(w.key, m); err == nil && sameBytes(s.Record, w.record) {
			return s, true, nil
		}
		w.revision = m.Sequence
		return order.Stored{}, false, nil
	}
	return s, true, ErrConflict
}

func sameBytes(a, b order.Record) bool {
	x, errX := a.Encode()
	y, errY := b.Encode()
	return errX == nil && errY == nil && string(x) == string(y)
}
