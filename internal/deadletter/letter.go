// Package deadletter keeps dead letters: requests that an operator must look at. Each holds the
// request's original bytes, subject and headers, and the reason why it ended.
package deadletter

import (
	"context"
	"fmt"
	"math"
	"net/textproto"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// NoProducer stands for the producer in a dead letter's subject when the request's subject
// names no valid producer.
const NoProducer = "-"

// headerPrefix goes before the request's own Nats headers. Otherwise the server would obey
// them.
const headerPrefix = "Entrust-Original-"

// textLimit is the most characters of an error's text in a header. Servers limit the headers of
// a message.
const textLimit = 512

// maxTrackingID is the longest tracking id, in bytes, that fits into the headers. The gateway
// chooses the id.
const maxTrackingID = 4 << 10

// Letter is one dead letter.
type Letter struct {
	order.Letter
	Time time.Time // when the request ended, UTC
	// Length is the request's size in bytes when Request.Body holds only a part, since the
	// whole did not fit or cannot be decoded. 0 means that Request.Body is whole.
	Length int
	// Sequence is the dead letter's sequence in the stream, 0 before it is published.
	Sequence uint64
}

// Box publishes, lists and purges dead letters. It is safe for concurrent use.
type Box struct {
	js       jetstream.JetStream
	stream   string
	subjects entrustbus.Subjects
}

// New returns the box of the dead letters in stream. It does not touch the server.
func New(js jetstream.JetStream, stream string, subjects entrustbus.Subjects) *Box {
	return &Box{js: js, stream: stream, subjects: subjects}
}

// maxUnreadable is how many bytes of an undecodable body a dead letter keeps. Such a body only
// helps a person who reads it, and its publisher may send many.
const maxUnreadable = 64 << 10

// Put publishes a dead letter. Its ID is the message id, so the stream drops a repetition
// within the duplicate window. When the server refuses the dead letter for ever, Put shortens
// it. It drops the request's own headers and all of its body but 64 KiB, then the rest of the
// body. When the server refuses even that, streams.IsRefused is true of the error.
func (b *Box) Put(ctx context.Context, l *Letter) error {
	msg := l.message(b.subjects)
	limit := int(b.js.Conn().MaxPayload())
	if limit <= 0 {
		limit = math.MaxInt
	}
	size := msg.Size()
	if headers := size - len(msg.Subject) - len(msg.Data); size > limit-roomForIDs || headers > order.MaxHeaders-roomForIDs {
		msg = l.cut(msg, limit)
	}
	err := b.put(ctx, l, msg)
	for _, body := range []int{64 << 10, 0} {
		if err == nil || !streams.IsRefused(err) {
			break
		}
		msg = l.cut(msg, limit)
		msg.Data = msg.Data[:min(body, len(msg.Data))]
		err = b.put(ctx, l, msg)
	}
	if err != nil {
		return fmt.Errorf("publishing a dead letter %s for %s: %w", l.Reason, l.Key, err)
	}
	return nil
}

func (b *Box) put(ctx context.Context, l *Letter, msg *nats.Msg) error {
	_, err := b.js.PublishMsg(ctx, msg, jetstream.WithMsgID(l.ID), jetstream.WithExpectStream(b.stream))
	return err
}

func (l *Letter) message(subjects entrustbus.Subjects) *nats.Msg {
	producer := l.Key.Producer
	if !entrustbus.ValidToken(producer) {
		producer = NoProducer
	}
	header := nats.Header{
		entrustbus.HeaderDeadReason:     {string(l.Reason)},
		entrustbus.HeaderDeadError:      {oneLine(l.Why)},
		entrustbus.HeaderDeadSubject:    {l.Request.Subject},
		entrustbus.HeaderDeadDeliveries: {strconv.Itoa(l.Deliveries)},
		entrustbus.HeaderDeadTime:       {l.Time.UTC().Format(time.RFC3339Nano)},
		entrustbus.HeaderKind:           {string(l.Kind)},
		entrustbus.HeaderReplay:         {strconv.Itoa(l.Generation)},
		order.HeaderDeaths:              {strconv.Itoa(l.Deaths)},
	}
	if l.Key.ID != "" {
		header[entrustbus.HeaderOrderID] = []string{l.Key.ID}
	}
	if l.TrackingID != "" && len(l.TrackingID) <= maxTrackingID {
		header[entrustbus.HeaderTrackingID] = []string{l.TrackingID}
	}
	for name, values := range l.Request.Header {
		if reserved(name) {
			name = headerPrefix + name
		}
		header[name] = values
	}
	body := l.Request.Body
	if l.Reason == order.Undecodable && len(body) > maxUnreadable {
		header[HeaderCut] = []string{strconv.Itoa(len(body))}
		body = body[:maxUnreadable]
	}
	return &nats.Msg{Subject: subjects.Dead(producer, string(l.Reason)), Header: header, Data: body}
}

// reserved reports whether a request header of this name would be mistaken for the dead
// letter's own, or obeyed by a server or a client. To a client, a message with a status and no
// body is a status message of the server.
func reserved(name string) bool {
	switch name {
	case entrustbus.HeaderDeadReason, entrustbus.HeaderDeadError, entrustbus.HeaderDeadSubject, entrustbus.HeaderDeadDeliveries,
		entrustbus.HeaderDeadTime, entrustbus.HeaderKind, entrustbus.HeaderReplay, entrustbus.HeaderOrderID,
		entrustbus.HeaderTrackingID, order.HeaderDeaths, HeaderCut, "Status", "Description":
		return true
	}
	return strings.HasPrefix(name, headerPrefix) || strings.HasPrefix(textproto.CanonicalMIMEHeaderKey(name), "Nats-")
}

// HeaderCut holds the size of the request in bytes, when the dead letter does not hold all of
// it.
const HeaderCut = "Entrust-Dead-Length"

// roomForIDs is how many bytes of headers the publish itself adds.
const roomForIDs = 512

// cut shortens a dead letter that is too large for the server, as a whole or by its headers.
// The request may leave no room for what the dead letter adds. cut drops the request's own
// headers first, then the end of its body.
func (l *Letter) cut(msg *nats.Msg, limit int) *nats.Msg {
	bare := *l
	bare.Request = order.Message{Subject: l.Request.Subject}
	header := bare.message(entrustbus.Subjects{}).Header
	for _, name := range []string{entrustbus.HeaderContentType, headerPrefix + nats.MsgIdHdr} {
		if v := msg.Header.Get(name); v != "" && len(v) < textLimit {
			header.Set(name, v)
		}
	}
	header.Set(HeaderCut, strconv.Itoa(len(l.Request.Body)))
	short := &nats.Msg{Subject: msg.Subject, Header: header, Data: msg.Data}
	if over := short.Size() - (limit - roomForIDs); over > 0 {
		short.Data = msg.Data[:max(0, len(msg.Data)-over)]
	}
	return short
}

// Parse reads a dead letter from its message.
func Parse(subjects entrustbus.Subjects, sequence uint64, subject string, header nats.Header, body []byte) (*Letter, error) {
	producer, reason, err := subjects.ParseDead(subject)
	if err != nil {
		return nil, err
	}
	l := &Letter{Sequence: sequence, Letter: order.Letter{
		Reason:     order.Reason(reason),
		Key:        order.Key{Producer: producer, ID: header.Get(entrustbus.HeaderOrderID)},
		Kind:       entrustbus.Kind(header.Get(entrustbus.HeaderKind)),
		TrackingID: header.Get(entrustbus.HeaderTrackingID),
		Why:        header.Get(entrustbus.HeaderDeadError),
		ID:         header.Get(nats.MsgIdHdr),
		Request:    order.Message{Subject: header.Get(entrustbus.HeaderDeadSubject), Header: map[string][]string{}, Body: body},
	}}
	l.Length, _ = strconv.Atoi(header.Get(HeaderCut)) // absent: the body is whole
	// A dead letter of another publisher may lack any of these headers. Show the others.
	l.Generation, _ = strconv.Atoi(header.Get(entrustbus.HeaderReplay))
	l.Deliveries, _ = strconv.Atoi(header.Get(entrustbus.HeaderDeadDeliveries))
	l.Deaths, _ = strconv.Atoi(header.Get(order.HeaderDeaths))
	l.Time, _ = time.Parse(time.RFC3339Nano, header.Get(entrustbus.HeaderDeadTime))
	for name, values := range header {
		if original, ok := strings.CutPrefix(name, headerPrefix); ok {
			l.Request.Header[original] = values
		} else if !reserved(name) {
			l.Request.Header[name] = values
		}
	}
	return l, nil
}

// oneLine makes text fit for a header: no control characters, at most textLimit characters.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
	if r := []rune(text); len(r) > textLimit {
		text = string(r[:textLimit-1]) + "…"
	}
	return text
}
