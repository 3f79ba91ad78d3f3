package order

import (
	"net/textproto"
	"strings"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// Message is a request as it was published.
type Message struct {
	Subject string              `msgpack:"subject"`
	Header  map[string][]string `msgpack:"header,omitempty"`
	Body    []byte              `msgpack:"body"`
}

// Get returns the first value of a header, or "". A nil Message has no headers.
func (m *Message) Get(name string) string {
	if m == nil {
		return ""
	}
	if v := m.Header[name]; len(v) > 0 {
		return v[0]
	}
	// Another client library may have canonicalised the name.
	if v := m.Header[textproto.CanonicalMIMEHeaderKey(name)]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// Trace returns the W3C headers of the message, "" for none. It accepts every letter case of
// their names: OpenTelemetry's carriers write a capital.
func (m *Message) Trace() (parent, state string) {
	return m.getFold(entrustbus.HeaderTraceParent), m.getFold(entrustbus.HeaderTraceState)
}

// getFold returns the first value of a header, in any letter case of its name. The contract's
// spelling comes first. Among other spellings, the first in byte order counts, so that every
// read returns the same value.
func (m *Message) getFold(name string) string {
	if m == nil {
		return ""
	}
	if v := m.Header[name]; len(v) > 0 {
		return v[0]
	}
	found, value := "", ""
	for other, v := range m.Header {
		if len(v) > 0 && strings.EqualFold(other, name) && (found == "" || other < found) {
			found, value = other, v[0]
		}
	}
	return value
}

// encode returns the message as bytes. Producers read records too. For them, a string that is
// not UTF-8 is not MessagePack, and a request's headers may hold any bytes.
func (m *Message) encode() ([]byte, error) { return msgpack.Marshal(m) }

func decodeMessage(data []byte) (*Message, error) {
	m := new(Message)
	return m, msgpack.Unmarshal(data, m)
}

// Ref identifies one stored message. The sequence alone does not: a stream that was made again,
// or lost its last messages, assigns sequences again. The zero Ref identifies no message.
type Ref struct {
	Sequence uint64
	Time     time.Time // when the server stored it
}

// names reports whether both identify the same message. The zero Ref is never the same.
func (r Ref) names(other Ref) bool {
	return r.Sequence != 0 && r.Sequence == other.Sequence && r.Time.Equal(other.Time)
}
