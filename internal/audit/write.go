package audit

import (
	"bytes"
	"context"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// write stores a batch. It returns when all of it is stored or ctx ends, because the
// chain continues from these records.
func (l *Log) write(ctx context.Context, batch ...*entry) {
	all := batch[:0]
	for _, e := range batch {
		// The caller has gone, and no record follows this entry yet.
		if e != nil && e.ctx.Err() == nil && l.addToChain(e) == nil {
			all = append(all, e)
		}
	}
	if len(all) == 0 {
		return
	}
	err := l.retry(ctx, func(ctx context.Context) error { return l.publish(ctx, all) })
	if err != nil {
		return
	}
	// A record is late if it lies behind a record with a later number.
	next := all[len(all)-1].seq
	for i := len(all) - 2; i >= 0; i-- {
		if all[i].seq > next {
			l.chain.StoredLate(all[i].number)
		}
		next = min(next, all[i].seq)
	}
	l.block(false)
}

// addToChain makes an entry the next record of the chain.
func (l *Log) addToChain(e *entry) error {
	body, err := l.chain.Append(e.record)
	if err != nil {
		l.Log.Error("an audit record cannot be encoded", "err", err) // a record is plain data
		return err
	}
	e.number = e.record.Number
	if e.id == "" {
		e.id = l.ownID(e)
	}
	e.msg = &nats.Msg{Subject: l.Subjects.Audit(subjectToken(e.record, l.Token)), Header: nats.Header{nats.MsgIdHdr: {e.id}}, Data: body}
	if e.record.Head != nil && l.Key != nil {
		e.msg.Header[HeaderSignature] = []string{l.Key.sign(body)}
	}
	return nil
}

// ownID returns a message id that no other chain uses.
func (l *Log) ownID(e *entry) string { return l.Config.Chain + "/" + strconv.FormatUint(e.number, 10) }

// publish sends the entries that are not stored yet, and waits for the answers.
func (l *Log) publish(ctx context.Context, batch []*entry) error {
	type sent struct {
		*entry
		answer jetstream.PubAckFuture
	}
	var all []sent
	for _, e := range batch {
		if e.seq > 0 {
			continue
		}
		answer, err := l.JS.PublishMsgAsync(e.msg, jetstream.WithExpectStream(l.Stream))
		if err != nil {
			return fmt.Errorf("publishing audit record %d: %w", e.number, err)
		}
		all = append(all, sent{e, answer})
	}
	var first error
	for _, s := range all {
		ack, err := await(ctx, s.answer)
		if err == nil {
			err = l.acknowledged(ctx, s.entry, ack)
		}
		if err != nil && first == nil {
			first = fmt.Errorf("publishing audit record %d: %w", s.number, err)
		}
	}
	return first
}

func await(ctx context.Context, answer jetstream.PubAckFuture) (*jetstream.PubAck, error) {
	select {
	case ack := <-answer.Ok():
		return ack, nil
	case err := <-answer.Err():
		return nil, err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// acknowledged handles the server's answer. If the server already had the message id, it
// has this record or the record of another worker that died after the same decision. In
// the second case acknowledged stores this record under an id of its own chain.
func (l *Log) acknowledged(ctx context.Context, e *entry, ack *jetstream.PubAck) error {
	if ack.Duplicate {
		m, err := streams.At(ctx, l.JS, l.Stream, ack.Sequence)
		if err != nil {
			return err
		}
		if !bytes.Equal(m.Data, e.msg.Data) {
			again := &nats.Msg{Subject: e.msg.Subject, Header: nats.Header{}, Data: e.msg.Data}
			for name, values := range e.msg.Header {
				again.Header[name] = values
			}
			again.Header[nats.MsgIdHdr] = []string{l.ownID(e)}
			again.Header[HeaderFirst] = []string{strconv.FormatUint(ack.Sequence, 10)}
			e.msg = again
			ack, err = l.JS.PublishMsg(ctx, again, jetstream.WithExpectStream(l.Stream))
			if err != nil {
				return err
			}
		}
	}
	e.seq = ack.Sequence
	close(e.stored)
	return nil
}
