// Package deadletter keeps requests that an operator has to look at: the
// original bytes, subject and headers, beside why they ended here.
package deadletter

import (
	"context"
	"fmt"
	"net/textproto"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
)

// Reason says why a request is a dead letter. It is the last token of the
// letter's subject.
type Reason string

// The reasons, all of them.
const (
	Undecodable      Reason = "undecodable"       // the bytes are no request
	Invalid          Reason = "invalid"           // a request that breaks the contract, or an id used twice
	Denied           Reason = "denied"            // a local policy forbids it; reserved, no worker says so yet
	Rejected         Reason = "rejected"          // the gateway, or an approver, said no
	Unconfirmed      Reason = "unconfirmed"       // the gateway may have accepted it; nobody knows
	Expired          Reason = "expired"           // no approval before the deadline
	WrongCertificate Reason = "wrong-certificate" // what was issued is not what was asked for
	Crashed          Reason = "crashed"           // workers died of it
)

// Reasons returns every reason, in the order of their meaning.
func Reasons() []Reason {
	return []Reason{Undecodable, Invalid, Denied, Rejected, Unconfirmed, Expired, WrongCertificate, Crashed}
}

// NoProducer stands in a letter's subject where the request's own does not name
// a producer that could be a token.
const NoProducer = "-"

const (
	// headerPrefix goes before the request's own Nats headers, which the server
	// would obey if they were kept as they are.
	headerPrefix = "Entrust-Original-"
	// HeaderDeaths counts how often the request became a dead letter. A replay
	// carries it on.
	HeaderDeaths = "Entrust-Deaths"
)

// MaxDeaths is how often a request may die before a replay refuses it.
const MaxDeaths = 5

// textLimit bounds what a header tells of an error; servers limit the headers
// of a message.
const textLimit = 512

// Letter is one dead letter.
type Letter struct {
	Reason     Reason
	Key        ledger.Key // parts are "" where they are not known
	Kind       entrustbus.Kind
	Replay     int
	TrackingID string
	Error      string // one line; never a CSR, certificate or key
	Deliveries int
	Deaths     int       // this death included
	Time       time.Time // when it died, UTC
	Request    ledger.Request

	// Length is how many bytes the request had where Request.Body holds fewer of
	// them, since the whole did not fit; 0 for a whole one.
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

// Put publishes a letter. id tells repeats of the same death apart from new
// ones: it is the message id.
func (b *Box) Put(ctx context.Context, l *Letter, id string) error {
	msg := l.message(b.subjects)
	if limit := int(b.js.Conn().MaxPayload()); limit > 0 && msg.Size()+roomForIDs > limit {
		msg = l.cut(msg, limit)
	}
	if _, err := b.js.PublishMsg(ctx, msg,
		jetstream.WithMsgID(id), jetstream.WithExpectStream(b.stream)); err != nil {
		return fmt.Errorf("publishing a dead letter %s for %s: %w", l.Reason, l.Key, err)
	}
	return nil
}

func (l *Letter) message(subjects entrustbus.Subjects) *nats.Msg {
	producer := l.Key.Producer
	if !entrustbus.ValidToken(producer) {
		producer = NoProducer
	}
	header := nats.Header{
		entrustbus.HeaderDeadReason:     {string(l.Reason)},
		entrustbus.HeaderDeadError:      {oneLine(l.Error)},
		entrustbus.HeaderDeadSubject:    {l.Request.Subject},
		entrustbus.HeaderDeadDeliveries: {strconv.Itoa(l.Deliveries)},
		entrustbus.HeaderDeadTime:       {l.Time.UTC().Format(time.RFC3339Nano)},
		entrustbus.HeaderKind:           {string(l.Kind)},
		entrustbus.HeaderReplay:         {strconv.Itoa(l.Replay)},
		HeaderDeaths:                    {strconv.Itoa(l.Deaths)},
	}
	if l.Key.ID != "" {
		header[entrustbus.HeaderOrderID] = []string{l.Key.ID}
	}
	if l.TrackingID != "" {
		header[entrustbus.HeaderTrackingID] = []string{l.TrackingID}
	}
	for name, values := range l.Request.Header {
		if reserved(name) {
			name = headerPrefix + name
		}
		header[name] = values
	}
	return &nats.Msg{Subject: subjects.Dead(producer, string(l.Reason)), Header: header, Data: l.Request.Body}
}

// reserved reports whether a request's own header of this name would be taken for
// the letter's, or obeyed: by a server, or by a client, to which a message with a
// status and no body is the server's word.
func reserved(name string) bool {
	switch name {
	case entrustbus.HeaderDeadReason, entrustbus.HeaderDeadError, entrustbus.HeaderDeadSubject, entrustbus.HeaderDeadDeliveries,
		entrustbus.HeaderDeadTime, entrustbus.HeaderKind, entrustbus.HeaderReplay, entrustbus.HeaderOrderID,
		entrustbus.HeaderTrackingID, HeaderDeaths, HeaderCut, "Status", "Description":
		return true
	}
	return strings.HasPrefix(name, headerPrefix) || strings.HasPrefix(textproto.CanonicalMIMEHeaderKey(name), "Nats-")
}

// HeaderCut tells how many bytes the request had, where its letter could not
// hold all of them.
const HeaderCut = "Entrust-Dead-Length"

// roomForIDs is what the publish itself adds to a letter's headers.
const roomForIDs = 512

// cut makes a letter fit that is larger than the server takes: a request may
// leave no room for what a letter adds to it. The request's own headers go
// first, then the end of its body.
func (l *Letter) cut(msg *nats.Msg, limit int) *nats.Msg {
	bare := *l
	bare.Request = ledger.Request{Subject: l.Request.Subject}
	header := bare.message(entrustbus.Subjects{}).Header
	for _, name := range []string{entrustbus.HeaderContentType, headerPrefix + nats.MsgIdHdr} {
		if v := msg.Header.Get(name); v != "" && len(v) < textLimit {
			header.Set(name, v)
		}
	}
	header.Set(HeaderCut, strconv.Itoa(len(msg.Data)))
	short := &nats.Msg{Subject: msg.Subject, Header: header, Data: msg.Data}
	if over := short.Size() + roomForIDs - limit; over > 0 {
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
	l := &Letter{
		Reason:     Reason(reason),
		Key:        ledger.Key{Producer: producer, ID: header.Get(entrustbus.HeaderOrderID)},
		Kind:       entrustbus.Kind(header.Get(entrustbus.HeaderKind)),
		TrackingID: header.Get(entrustbus.HeaderTrackingID),
		Error:      header.Get(entrustbus.HeaderDeadError),
		Request:    ledger.Request{Subject: header.Get(entrustbus.HeaderDeadSubject), Header: map[string][]string{}, Body: body},
		Sequence:   sequence,
	}
	l.Length, _ = strconv.Atoi(header.Get(HeaderCut)) // absent: whole
	// A letter that somebody else put here may lack any of these; what can be
	// read of it is shown.
	l.Replay, _ = strconv.Atoi(header.Get(entrustbus.HeaderReplay))
	l.Deliveries, _ = strconv.Atoi(header.Get(entrustbus.HeaderDeadDeliveries))
	l.Deaths, _ = strconv.Atoi(header.Get(HeaderDeaths))
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
