package order

import (
	"net/textproto"
	"time"

	"github.com/vmihailenco/msgpack/v5"
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
