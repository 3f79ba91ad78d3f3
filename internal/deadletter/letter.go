// Package deadletter keeps requests that an operator has to look at: the
// original bytes, subject and headers, beside why they ended here.
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

// NoProducer stands in a letter's subject where the request's own does not name
// a producer that could be a token.
const NoProducer = "-"

// headerPrefix goes before the request's own Nats headers, which the server would obey
// if they were kept as they are.
const headerPrefix = "Entrust-Original-"

// textLimit bounds what a header tells of an error; servers limit the headers
// of a message.
const textLimit = 512

// maxTrackingID is the longest tracking id that a letter's headers have room for. The
// gateway makes it.
const maxTrackingID = 4 << 10

// Letter is one dead letter.
type Letter struct {
	order.Letter
	Time time.Time // when the request ended, UTC
	// Length is how many bytes the request had where Request.Body holds fewer of
	// them, since the whole did not fit or cannot be decoded; 0 for a whole one.
	Length int
	// Sequence is the letter's place in the stream, 0 before it is published.
	Sequence uint64
}

// Box publishes dead letters. It is safe for concurrent use.
type Box struct {
	js       jetstream.JetStream
	stream   string
	subjects entrustbus.Subjects
}

// New returns the dead letters in stream. It does not touch the server.
func New(js jetstream.JetStream, stream string, subjects entrustbus.Subjects) *Box {
	return &Box{js: js, stream: stream, subjects: subjects}
}

// maxUnreadable is how much of a body that could not be decoded a letter keeps, in bytes:
// it can be of use to a reader only, and its sender may have many of them.
const maxUnreadable = 64 << 10

// Put publishes a letter. Its ID, as the message id, tells repeats of one letter from
// new ones. A letter that the server refuses for good is cut: its request loses its own
// headers and all of its body but 64 KiB, then the rest of the body. Where even that is
// refused, streams.IsRefused is true of the error.
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

// reserved reports whether a request's own header of this name would be taken for
// the letter's, or obeyed: by a server, or by a client, to which a message with a
// status and no body is the server's word.
func reserved(name string) bool {
	switch name {
	case entrustbus.HeaderDeadReason, entrustbus.HeaderDeadError, entrustbus.HeaderDeadSubject, entrustbus.HeaderDeadDeliveries,
		entrustbus.HeaderDeadTime, entrustbus.HeaderKind, entrustbus.HeaderReplay, entrustbus.HeaderOrderID,
		entrustbus.HeaderTrackingID, order.HeaderDeaths, HeaderCut, "Status", "Description":
		return true
	}
	return strings.HasPrefix(name, headerPrefix) || strings.HasPrefix(textproto.CanonicalMIMEHeaderKey(name), "Nats-")
}

// HeaderCut tells how many bytes the request had, where its letter does not hold all of
// them.
const HeaderCut = "Entrust-Dead-Length"

// roomForIDs is what the publish itself adds to a letter's headers.
const roomForIDs = 512

// cut makes a letter fit that is larger than the server takes, as a whole or by its
// headers: a request may leave no room for what a letter adds to it. The request's own
// headers go first, then the end of its body.
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

// Parse reads a letter off the bus.
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
	l.Length, _ = strconv.Atoi(header.Get(HeaderCut)) // absent: whole
	// A letter that another publisher put here may lack any of these; what can be
	// read of it is shown.
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

// oneLine makes text fit for a header: no control characters, bounded.
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
