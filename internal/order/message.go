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

// Get returns the first value of a header, or "".
func (m *Message) Get(name string) string {
	if m == nil {
		return ""
	}
	if v := m.Header[name]; len(v) > 0 {
		return v[0]
	}
	// A client of another language may have canonicalised the name.
	if v := m.Header[textproto.CanonicalMIMEHeaderKey(name)]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// Trace returns the W3C headers of the message, "" where it has none. Publishers write their
// names in every letter case: carriers of OpenTelemetry begin them with a capital.
func (m *Message) Trace() (parent, state string) {
	return m.getFold(entrustbus.HeaderTraceParent), m.getFold(entrustbus.HeaderTraceState)
}

// getFold returns the first value of a header whose name is in any letter case. Of several
// names that differ in case, the contract's counts, else the first in the order of bytes: a
// message says the same each time that it is read.
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

// encode returns the message as bytes. Producers read records too, and to them a
// string that is not UTF-8 is not MessagePack; a request's headers may hold anything.
func (m *Message) encode() ([]byte, error) { return msgpack.Marshal(m) }

func decodeMessage(data []byte) (*Message, error) {
	m := new(Message)
	return m, msgpack.Unmarshal(data, m)
}

// Ref names one stored message. The sequence alone does not: a stream that was made
// again, or that lost its last messages, counts again. The zero Ref names none.
type Ref struct {
	Sequence uint64
	Time     time.Time // when the server stored it
}

// names reports whether both are the same message.
func (r Ref) names(other Ref) bool {
	return r.Sequence != 0 && r.Sequence == other.Sequence && r.Time.Equal(other.Time)
}
