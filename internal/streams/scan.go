package streams

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// scanBatch and scanBytes bound one request of Scan. scanQuiet is how long Scan waits for the
// next message.
//
// nats-server 2.15 counts the remaining messages for each request. In a stream that keeps one
// message a subject, it visits all subjects for that. With batches of 512, the time to read a
// bucket grows with the square of its size; a million records take the server two minutes.
const (
	scanBatch = 4096
	scanBytes = 2 << 20
	scanQuiet = 10 * time.Second
)

// Scan yields the messages of a stream whose subject matches filter, ordered by sequence. It
// uses no consumer, so it can read a work queue without taking messages from it. It reads by
// batched direct get (ADR-31), which the stream must allow. Any replica may answer, so Scan may
// miss a message that the leader stored a moment ago. It holds one batch at a time, and stops
// after yielding an error.
func Scan(ctx context.Context, js jetstream.JetStream, stream, filter string) iter.Seq2[*Message, error] {
	return ScanFrom(ctx, js, stream, filter, 1)
}

// ScanFrom is Scan from a sequence. Messages before it cost nothing: from the second half of a
// stream on, the server visits only what follows.
func ScanFrom(ctx context.Context, js jetstream.JetStream, stream, filter string, sequence uint64) iter.Seq2[*Message, error] {
	return func(yield func(*Message, error) bool) {
		// Batches grow: a caller that stops soon must not cause thousands of messages.
		size := 1
		for next := max(sequence, 1); next > 0; size = min(64*size, scanBatch) {
			from := next
			next = 0
			for m, err := range batch(ctx, js, stream, batchQuery{Sequence: from, Next: filter, Batch: size, Bytes: scanBytes}) {
				if !yield(m, err) || err != nil {
					return
				}
				next = m.Sequence + 1
			}
		}
	}
}

// FirstSince returns the first message that the stream stored at that instant or later, by the
// clock of its server. It returns ErrNoMessage when there is none. Any replica may answer.
func FirstSince(ctx context.Context, js jetstream.JetStream, stream string, at time.Time) (*Message, error) {
	for m, err := range batch(ctx, js, stream, batchQuery{Since: at.UTC(), Next: ">", Batch: 1}) {
		return m, err
	}
	return nil, ErrNoMessage
}

// batchQuery requests a batch of messages, from a sequence or from an instant.
type batchQuery struct {
	Sequence uint64    `json:"seq,omitempty"`
	Since    time.Time `json:"start_time,omitzero"`
	Next     string    `json:"next_by_subj"`
	Batch    int       `json:"batch"`
	Bytes    int       `json:"max_bytes,omitempty"`
}

// batch yields one batch of messages.
func batch(ctx context.Context, js jetstream.JetStream, stream string, q batchQuery) iter.Seq2[*Message, error] {
	return func(yield func(*Message, error) bool) {
		query, err := json.Marshal(q)
		if err != nil {
			yield(nil, fmt.Errorf("encoding a read of %s: %w", stream, err))
			return
		}
		nc := js.Conn()
		inbox := nc.NewInbox()
		sub, err := nc.SubscribeSync(inbox)
		if err != nil {
			yield(nil, fmt.Errorf("reading the stream %s: %w", stream, err))
			return
		}
		defer sub.Unsubscribe()
		if err := nc.PublishRequest(APISubject(js, "DIRECT.GET."+stream), inbox, query); err != nil {
			yield(nil, fmt.Errorf("reading the stream %s: %w", stream, err))
			return
		}
		for {
			quiet, cancel := context.WithTimeout(ctx, scanQuiet)
			msg, err := sub.NextMsgWithContext(quiet)
			cancel()
			if err != nil {
				yield(nil, fmt.Errorf("reading the stream %s: %w", stream, err))
				return
			}
			status := msg.Header.Get("Status")
			if msg.Header.Get(jetstream.SequenceHeader) != "" {
				status = "" // it is a message; its publisher may have set any header
			}
			switch status {
			case "":
			case "204", "404": // end of the batch; no message
				return
			default:
				yield(nil, fmt.Errorf("reading the stream %s: status %s %s", stream, status, msg.Header.Get("Description")))
				return
			}
			m, err := direct(msg)
			if !yield(m, err) || err != nil {
				return
			}
		}
	}
}

// direct reads one answer of a direct get. The server adds its own headers behind those of the
// message, which may have the same names.
func direct(msg *nats.Msg) (*Message, error) {
	own := func(name string) string {
		values := msg.Header.Values(name)
		if len(values) == 0 {
			return ""
		}
		return values[len(values)-1]
	}
	m := &Message{Subject: own(jetstream.SubjectHeader), Header: msg.Header, Data: msg.Data}
	var err error
	if m.Sequence, err = strconv.ParseUint(own(jetstream.SequenceHeader), 10, 64); err != nil {
		return nil, fmt.Errorf("reading the sequence of a message on %s: %w", m.Subject, err)
	}
	if m.Time, err = time.Parse(time.RFC3339Nano, own(jetstream.TimeStampHeaer)); err != nil {
		return nil, fmt.Errorf("reading the time of a message on %s: %w", m.Subject, err)
	}
	return m, nil
}
