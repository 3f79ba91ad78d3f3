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

// headerNonce holds what tells the writes of one Write from every other.
const headerNonce = "Entrust-Nonce"

var errInProcess = errors.New("another write of the record is in process")

// Write is one compare-and-set of a record. Try may be repeated until it succeeds: a
// try whose acknowledgement was lost is recognised by its nonce. Not safe for
// concurrent use.
type Write struct {
	l        *Ledger
	key      order.Key
	record   order.Record
	revision uint64
	nonces   []string // of writes of this record that were sent and not acknowledged
}

// Write prepares to write next over cur: the record as it was read, or nothing. after,
// if not nil, is an earlier write of the same record that may have been stored all the
// same; next is then written over it.
func (l *Ledger) Write(key order.Key, cur order.Stored, next order.Record, after *Write) *Write {
	w := &Write{l: l, key: key, record: next, revision: cur.Revision}
	if after != nil {
		w.nonces = after.nonces
	}
	return w
}

// Try sends the write once. It returns ErrConflict when another writer was there first,
// and then nothing will be written any more.
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

// message is one write of an encoded record over the revision that is known.
func (w *Write) message(data []byte) (msg *nats.Msg, nonce string) {
	nonce = nuid.Next()
	return &nats.Msg{Subject: streams.PublishSubject(w.l.js, w.l.subject(w.key)), Data: data, Header: nats.Header{
		jetstream.ExpectedLastSubjSeqHeader: {strconv.FormatUint(w.revision, 10)},
		headerNonce:                         {nonce},
	}}, nonce
}

// attempts bounds how often one Try sends a write over a revision that it found to be
// free; tryWait is how long each waits for its acknowledgement.
const (
	attempts = 3
	tryWait  = 3 * time.Second
)

func (w *Write) send(ctx context.Context, msg *nats.Msg) (*jetstream.PubAck, error) {
	ctx, cancel := context.WithTimeout(ctx, tryWait)
	defer cancel()
	return w.l.js.PublishMsg(ctx, msg)
}

// conflict tells our own earlier write, whose acknowledgement was lost, from another's.
// Where the record still is what was read, the server refused the write since it has
// another one in process, which may be our own and is stored a moment later: nothing is
// decided yet. A record that is gone, with its bucket or with the last writes of the bus,
// is a conflict: results and wake-ups may be gone too. One that was deleted by hand
// belongs to no writer, and is written again.
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
		// Ours: it holds this record, or one that this write follows.
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
