package ledger

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// Mark is the last record that the server acknowledged. A ledger that no longer holds this
// record has lost its last writes. One mark is enough: a stream that lost a write has lost
// every later write. The zero Mark names no record.
type Mark struct {
	Made     time.Time `json:"made"` // when the bucket was made
	Key      order.Key `json:"key"`
	Revision uint64    `json:"revision"`
	At       time.Time `json:"at"` // by the host's clock
}

// marks keeps the last mark. It is safe for concurrent use.
type marks struct {
	mu   sync.Mutex
	last Mark
	conn uint64 // count of reconnections when last was written or compared
}

// acked notes an acknowledged write. After a reconnection the earlier mark stays until Lost has
// compared it: by then, a ledger that was rolled back may have counted past it.
func (l *Ledger) acked(key order.Key, revision uint64) {
	conn := l.js.Conn().Stats().Reconnects
	l.marks.mu.Lock()
	defer l.marks.mu.Unlock()
	m := &l.marks
	switch {
	case m.last.Revision == 0:
		m.conn = conn
	case m.conn != conn || m.last.Revision >= revision:
		return
	}
	m.last.Key, m.last.Revision, m.last.At = key, revision, time.Now().UTC()
}

// Mark returns the last mark.
func (l *Ledger) Mark() Mark {
	l.marks.mu.Lock()
	defer l.marks.mu.Unlock()
	return l.marks.last
}

// SetMark sets the mark, for example to that of an earlier process. After the zero Mark, the
// next acknowledged write sets it.
func (l *Ledger) SetMark(m Mark) {
	l.marks.mu.Lock()
	defer l.marks.mu.Unlock()
	l.marks.last, l.marks.conn = m, l.js.Conn().Stats().Reconnects
}

// Lost reports whether the leader of the bucket no longer holds the mark, at its revision or a
// later one. It drops the mark and reports false when the bucket was deleted and made again,
// which Made shows. It does the same when the bucket may have removed the record by age. A
// leader that was elected a moment ago may lag. The caller asks again before it treats the
// writes as lost.
func (l *Ledger) Lost(ctx context.Context) (bool, error) {
	conn := l.js.Conn().Stats().Reconnects
	m := l.Mark()
	if m.Revision == 0 {
		return false, nil
	}
	last, err := streams.Last(ctx, l.js, l.stream(), l.subject(m.Key))
	switch {
	case err == nil && last.Sequence >= m.Revision:
		l.compared(m, conn)
		return false, nil
	case err != nil && !errors.Is(err, streams.ErrNoMessage):
		return false, fmt.Errorf("comparing the ledger with the last acknowledged record: %w", err)
	}
	st, err := l.js.Stream(ctx, l.stream())
	if err != nil {
		return false, fmt.Errorf("comparing the ledger with the last acknowledged record: %w", err)
	}
	info := st.CachedInfo()
	maxAge := info.Config.MaxAge
	aged := last == nil && maxAge > 0 && time.Since(m.At) > maxAge/2 && info.State.LastSeq >= m.Revision
	if aged || !m.Made.IsZero() && !info.Created.Equal(m.Made) {
		l.SetMark(Mark{Made: info.Created})
		return false, nil
	}
	return true, nil
}

// compared notes that the ledger holds m over this connection. Later writes may then move the
// mark.
func (l *Ledger) compared(m Mark, conn uint64) {
	l.marks.mu.Lock()
	defer l.marks.mu.Unlock()
	if l.marks.last.Revision == m.Revision {
		l.marks.conn = conn
	}
}
