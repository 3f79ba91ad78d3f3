// Package results publishes the result of an order, once per generation, and reads the
// one that stands.
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

// CodeUnreadable is the error code of a result that stands and cannot be read.
const CodeUnreadable = "unreadable_result"

// Last reads the newest result of an order from the leader of the stream, nil where
// there is none. One that a worker published and that this one cannot read, such as a newer
// version, stands all the same, as unconfirmed. What no worker published is no result: it is
// published over.
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

// unreadable is what a result that cannot be read says of its order by its headers, nil
// where it is no worker's.
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
			Message: fmt.Sprintf("the result that stands cannot be read by this worker: %v", why),
		},
	}
}

// Publication is one result on its way. Try may be repeated. Not safe for concurrent
// use.
type Publication struct {
	s          *Store
	key        order.Key
	result     *entrustbus.Result
	msg        *nats.Msg
	expected   uint64
	lookBefore bool // a result may stand on the subject
}

// maxTrace is the longest trace header that a result carries. W3C asks for 512
// characters; a producer may send more than the headers of a message can hold.
const maxTrace = 4 << 10

// Publish prepares the result of a conclusion.
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

// Try publishes the result unless one of the same or a later generation stands, and
// returns the one that stands. The subject is written by compare-and-set, which holds
// for as long as the stream keeps its messages; the message id alone would hold for the
// duplicate window only.
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
	// Unless this one is acknowledged, another may stand there, or our own.
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
