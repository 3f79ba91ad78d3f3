// Package results publishes the result of an order, once per generation, and reads the
// published result.
package results

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// Store is the stream of results. It is safe for concurrent use.
type Store struct {
	js       jetstream.JetStream
	stream   string
	subjects entrustbus.Subjects
}

// New returns the results in stream. It does not touch the server.
func New(js jetstream.JetStream, stream string, subjects entrustbus.Subjects) *Store {
	return &Store{js: js, stream: stream, subjects: subjects}
}

// CodeUnreadable is the error code of a published result that this worker cannot read.
const CodeUnreadable = "unreadable_result"

// Last reads the newest result of an order from the leader of the stream, with its sequence.
// The result is nil when there is none. A worker's result that this worker cannot read, for
// example of a newer version, counts as unconfirmed. A message that no worker published is no
// result: Last returns nil with its sequence, and Publication.Try writes over it.
func (s *Store) Last(ctx context.Context, key order.Key) (*entrustbus.Result, uint64, error) {
	m, err := streams.Last(ctx, s.js, s.stream, s.subjects.Result(key.Producer, key.ID))
	if errors.Is(err, streams.ErrNoMessage) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	r, err := decode(m)
	if err != nil {
		return unreadable(key, m, err), m.Sequence, nil
	}
	return r, m.Sequence, nil
}

func decode(m *streams.Message) (*entrustbus.Result, error) {
	enc, err := entrustbus.EncodingOf(m.Header.Get(entrustbus.HeaderContentType), m.Data)
	if err != nil {
		return nil, err
	}
	return entrustbus.DecodeResult(enc, m.Data)
}

// unreadable builds a result from the headers of a message whose body cannot be read. It
// returns nil when the headers are not those of a worker.
func unreadable(key order.Key, m *streams.Message, why error) *entrustbus.Result {
	replay, err := strconv.Atoi(m.Header.Get(entrustbus.HeaderReplay))
	if err != nil || replay < 0 || m.Header.Get(nats.MsgIdHdr) != entrustbus.ResultMsgID(key.Producer, key.ID, replay) {
		return nil
	}
	return &entrustbus.Result{
		ID: key.ID, Producer: key.Producer, Kind: entrustbus.Kind(m.Header.Get(entrustbus.HeaderKind)), Replay: replay,
		Outcome: entrustbus.OutcomeUnconfirmed,
		Error: &entrustbus.ResultError{
			Class: entrustbus.ClassOther, Code: CodeUnreadable,
			Message: fmt.Sprintf("this worker cannot read the published result: %v", why),
		},
	}
}

// Publication is one result to be published. Try may be repeated. A Publication is not safe for
// concurrent use.
type Publication struct {
	s          *Store
	key        order.Key
	result     *entrustbus.Result
	msg        *nats.Msg
	expected   uint64
	lookBefore bool // the subject may already hold a result
}

// maxTrace is the longest trace header that a result carries, in bytes. W3C asks for 512
// characters. A producer may send more than the headers of a message can hold.
const maxTrace = 4 << 10

// Publish prepares the result of a conclusion. It does not touch the server.
func (s *Store) Publish(key order.Key, c *order.Conclusion) (*Publication, error) {
	r := c.Result
	body, err := entrustbus.EncodeResult(c.Encoding, r)
	if err != nil {
		return nil, fmt.Errorf("encoding the result of %s: %w", key, err)
	}
	header := nats.Header{
		nats.MsgIdHdr:                {entrustbus.ResultMsgID(key.Producer, key.ID, r.Replay)},
		entrustbus.HeaderContentType: {c.Encoding.ContentType()},
		entrustbus.HeaderOrderID:     {key.ID},
		entrustbus.HeaderKind:        {string(r.Kind)},
		entrustbus.HeaderReplay:      {strconv.Itoa(r.Replay)},
	}
	if n := len(c.TraceParent); n > 0 && n <= maxTrace {
		header[entrustbus.HeaderTraceParent] = []string{c.TraceParent}
	}
	if n := len(c.TraceState); n > 0 && n <= maxTrace {
		header[entrustbus.HeaderTraceState] = []string{c.TraceState}
	}
	msg := &nats.Msg{Subject: s.subjects.Result(key.Producer, key.ID), Header: header, Data: body}
	return &Publication{s: s, key: key, result: r, msg: msg, lookBefore: r.Replay > 0}, nil
}

// Try publishes the result unless a result of the same or a later generation exists. It returns
// the result in force. It writes by compare-and-set, which works as long as the stream keeps
// its messages. The message id alone would work only within the duplicate window.
func (p *Publication) Try(ctx context.Context) (*entrustbus.Result, error) {
	if p.lookBefore {
		last, sequence, err := p.s.Last(ctx, p.key)
		if err != nil {
			return nil, err
		}
		if last != nil && last.Replay >= p.result.Replay {
			return last, nil
		}
		p.expected = sequence
	}
	// Without an acknowledgement, the subject may hold another result, or this one.
	p.lookBefore = true
	ack, err := p.s.js.PublishMsg(ctx, p.msg, jetstream.WithExpectLastSequencePerSubject(p.expected), jetstream.WithExpectStream(p.s.stream))
	switch {
	case err != nil:
		return nil, err
	case ack.Duplicate:
		return nil, errors.New("a result of this generation was published before; reading it")
	}
	return p.result, nil
}
