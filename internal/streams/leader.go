package streams

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Leader reads the last messages of one stream as its leader knows them. Make one with
// LeaderOf. It is safe for concurrent use.
type Leader struct {
	js     jetstream.JetStream
	stream string
	// single is the stream if it has one replica, else nil.
	single atomic.Pointer[jetstream.Stream]
}

// LeaderOf returns the leader of a stream. It does not touch the server.
func LeaderOf(js jetstream.JetStream, stream string) *Leader { return &Leader{js: js, stream: stream} }

// Open reads how many replicas the stream has, and returns the server's information about it.
// Last then reads a stream with one replica by direct get, at a third of the cost. Open is
// optional.
func (l *Leader) Open(ctx context.Context) (*jetstream.StreamInfo, error) {
	st, err := l.js.Stream(ctx, l.stream)
	if err != nil {
		return nil, fmt.Errorf("opening the stream %s: %w", l.stream, err)
	}
	if cfg := st.CachedInfo().Config; cfg.Replicas == 1 && cfg.AllowDirect {
		l.single.Store(&st)
	}
	return st.CachedInfo(), nil
}

// Last reads the last message on a subject. It returns ErrNoMessage when there is none. While
// the stream gets more replicas, Last may return an older message until the next start of this
// process.
func (l *Leader) Last(ctx context.Context, subject string) (*Message, error) {
	single := l.single.Load()
	if single == nil {
		return Last(ctx, l.js, l.stream, subject)
	}
	m, err := (*single).GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, ErrNoMessage
	}
	if err != nil {
		return nil, err
	}
	return &Message{Sequence: m.Sequence, Time: m.Time, Subject: m.Subject, Header: m.Header, Data: m.Data}, nil
}

// Deleted reports whether a message of a bucket is a marker: its key was removed, or expired.
func (m *Message) Deleted() bool {
	return m.Header.Get("KV-Operation") != "" || m.Header.Get(jetstream.MarkerReasonHeader) != ""
}

var errInProcess = errors.New("another write is in process")

// Create stores msg unless its subject already holds a value, and reports whether it stored
// one. It may be repeated until it succeeds: a repetition finds the value of the earlier try.
// It changes msg.
func (l *Leader) Create(ctx context.Context, msg *nats.Msg) (bool, error) {
	subject := msg.Subject
	msg.Subject = PublishSubject(l.js, subject)
	if msg.Header == nil {
		msg.Header = nats.Header{}
	}
	free := uint64(0) // the sequence of the marker on the subject
	for {
		msg.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(free, 10))
		_, err := l.js.PublishMsg(ctx, msg)
		if !IsConflict(err) {
			return err == nil, err
		}
		m, err := Last(ctx, l.js, l.stream, subject)
		switch {
		case errors.Is(err, ErrNoMessage), err == nil && m.Deleted() && m.Sequence == free:
			return false, errInProcess
		case err != nil:
			return false, err
		case !m.Deleted():
			return false, nil
		}
		free = m.Sequence
	}
}
