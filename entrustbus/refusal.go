package entrustbus

import (
	"context"
	"fmt"
	"iter"
	"time"
)

// Refusal reports a request that was refused and gets no result: the worker could read no id, or the id belongs to another
// request. Workers publish it on Subjects.Refused after the request's dead letter, as JSON whatever the request's encoding.
// The server does not keep it, and a worker publishes at most 10 a second for each producer. So a missing Refusal proves
// nothing.
type Refusal struct {
	// Version is the contract's version, Version.
	Version int `json:"v"`
	// Producer and Kind are those of the request's subject.
	Producer string `json:"producer"`
	Kind     Kind   `json:"kind"`
	// ID is the request's id, which belongs to another request; empty if none could be read.
	ID string `json:"id,omitempty"`
	// Sequence is the sequence of the request in the request stream: Receipt.Sequence of its publication.
	Sequence uint64 `json:"sequence"`
	// Reason is the reason of the dead letter: undecodable, invalid or crashed. Later versions may add reasons.
	Reason string `json:"reason"`
	// Message is one line for people: which key is wrong, why and where. It holds no certificate request.
	Message string `json:"message"`
	// RefusedAt is when the worker refused the request, by the server's clock.
	RefusedAt time.Time `json:"refused_at"`
}

var refusalForm = form{
	title: "Refusal",
	about: "Reports a request that was refused and gets no result: the worker could read no id, or the id belongs to another request. Published to <prefix>.refused.<producer> as JSON; NATS does not keep it. Later versions may add keys.",
	table: table{
		{key: "v", at: at(func(r *Refusal) any { return &r.Version }), shape: version{}, always: true, about: "Version of the contract."},
		{key: "producer", at: at(func(r *Refusal) any { return &r.Producer }), shape: tokenShape, always: true, about: "The producer of the request."},
		{key: "kind", at: at(func(r *Refusal) any { return (*string)(&r.Kind) }), shape: text{enum: words(kinds)}, always: true, about: "The kind of the request."},
		{key: "id", at: at(func(r *Refusal) any { return &r.ID }), shape: tokenShape, about: "The request's id, which belongs to another request. Absent if none could be read."},
		{key: "sequence", at: at(func(r *Refusal) any { return &r.Sequence }), shape: sequence{}, always: true, about: "Sequence of the request in the request stream, as in the acknowledgement of its publication."},
		{key: "reason", at: at(func(r *Refusal) any { return &r.Reason }), shape: text{}, always: true, about: "Reason of the dead letter: undecodable, invalid or crashed."},
		{key: "message", at: at(func(r *Refusal) any { return &r.Message }), shape: text{}, always: true, about: "One line for people: which key is wrong, why and where."},
		{key: "refused_at", at: at(func(r *Refusal) any { return &r.RefusedAt }), shape: instant{}, always: true, about: "When the worker refused the request, in UTC by the server's clock."},
	},
}

// sequence is a *uint64.
type sequence struct{}

func (sequence) read(f *fieldReader, key string, to any) {
	v, ok := f.get(key, kindInt)
	if ok && v.number < 0 {
		f.fail(key, "must be at least 0", "")
		return
	}
	*to.(*uint64) = uint64(v.number)
}

func (sequence) write(from any) any                       { return int64(*from.(*uint64)) }
func (sequence) check(string, any) error                  { return nil }
func (sequence) content(b []byte, _ string, _ any) []byte { return b }

func (sequence) schema() document {
	return document(nil).must("type", "integer").must("minimum", int64(0))
}

// EncodeRefusal writes a refusal as JSON, the one encoding that it has. It does not validate; text that is not UTF-8, and
// a time that RFC 3339 cannot express, are a *FieldError.
func EncodeRefusal(r *Refusal) ([]byte, error) {
	return refusalForm.table.write(nil, r).encode(EncodingJSON)
}

// DecodeRefusal reads a refusal. Every error is a *FieldError, and no refusal is returned beside it.
func DecodeRefusal(data []byte) (*Refusal, error) {
	f, err := readDocument(EncodingJSON, data, refusalForm.knows)
	if err != nil {
		return nil, err
	}
	r := new(Refusal)
	version := f.version()
	refusalForm.table.read(f, r)
	if err := firstError(version, f.failure()); err != nil {
		return nil, err
	}
	switch {
	case !ValidToken(r.Producer):
		return nil, errToken("producer")
	case r.ID != "" && !ValidToken(r.ID):
		return nil, errToken("id")
	}
	return r, nil
}

// Refused subscribes to the refusals of the producer's requests, and yields those that come from now on until the loop
// breaks or the context ends, which is the last error. The subscription lasts as long as the context, whether or not
// the program reads it. Compare Refusal.Sequence with the Sequence of a Receipt to find the request. A refusal that
// cannot be read is yielded as a *FieldError, and the loop goes on.
func (c *Client) Refused(ctx context.Context) (iter.Seq2[*Refusal, error], error) {
	sub, err := c.nc.SubscribeSync(c.cfg.Subjects.Refused(c.cfg.Producer))
	if err != nil {
		return nil, fmt.Errorf("listening for refusals: %w", err)
	}
	context.AfterFunc(ctx, func() { _ = sub.Unsubscribe() }) // fails only with the connection
	ready, cancel := c.bounded(ctx)
	defer cancel()
	if err := c.nc.FlushWithContext(ready); err != nil {
		_ = sub.Unsubscribe()
		return nil, fmt.Errorf("listening for refusals: %w", err)
	}
	return func(yield func(*Refusal, error) bool) {
		for {
			msg, err := sub.NextMsgWithContext(ctx)
			if err != nil {
				if ctx.Err() != nil {
					err = context.Cause(ctx)
				}
				yield(nil, fmt.Errorf("listening for refusals: %w", err))
				return
			}
			if !yield(DecodeRefusal(msg.Data)) {
				return
			}
		}
	}, nil
}
