package entrustbus

import (
	"bytes"
	"fmt"
	"time"
	"unicode/utf8"
)

// Bounds of what is read of the keys that a message's kind knows. What stands under other keys is skipped, whatever it is.
const (
	maxDepth     = 8    // maps and lists inside each other
	maxMapKeys   = 256  // of one map
	maxValues    = 4096 // of one message, keys not counted
	maxKeyLength = 1024
	maxUnknown   = 32 // unknown keys that are looked at for a slip of the pen
)

// value is one value of either encoding. Which field holds it depends on kind.
type value struct {
	kind   valueKind
	text   []byte // kindText, kindBytes, kindHuge in JSON; may alias the message
	number int64
	float  float64
	flag   bool
	time   time.Time
	list   []value
	fields map[string]value
	flaw   flaw
}

// flaw is what is wrong with a value that is there. It counts where the value is read, so that it refuses one field and
// not the message.
type flaw struct{ problem, fix string }

var (
	flawTwice   = flaw{"is a duplicate key", "give it once"}
	flawTorn    = flaw{"has half a surrogate pair, which is no character", "write characters beyond U+FFFF as they are, or as both halves"}
	flawNotUTF8 = flaw{"is not UTF-8", ""}
)

type valueKind uint8

const (
	kindNil valueKind = iota
	kindBool
	kindInt
	kindHuge // an integer beyond int64
	kindFloat
	kindText
	kindBytes
	kindTime
	kindList
	kindMap
	kindExt // a MessagePack extension that is no timestamp, or a timestamp that is none
)

func (k valueKind) String() string {
	return [...]string{
		"nil", "a boolean", "an integer", "an integer beyond 64 bits", "a floating-point number", "a string", "bytes",
		"a timestamp", "a list", "a map", "a MessagePack extension",
	}[k]
}

// body is what was read of one message: the keys that are known to its reader, and the names of others.
type body struct {
	known   func(key string) bool
	fields  map[string]value
	unknown []string
	budget  int
}

// take counts down what one message may still hold, so that no nesting of allowed maps adds up to a large one.
func (b *body) take() error {
	if b.budget--; b.budget < 0 {
		return errBody("holds too many values")
	}
	return nil
}

// skips notes a key that the reader does not know, and reports whether that is so.
func (b *body) skips(key []byte) bool {
	if b.known(string(key)) {
		return false
	}
	if len(b.unknown) < maxUnknown && ValidToken(string(key)) {
		b.unknown = append(b.unknown, string(key))
	}
	return true
}

// put adds a key to a map that is being read. A key that comes twice has no value that could be meant.
func put(fields map[string]value, key string, v value) {
	if _, twice := fields[key]; twice {
		v = value{kind: v.kind, flaw: flawTwice}
	}
	fields[key] = v
}

// textValue is a string of MessagePack or JSON. Old MessagePack has one type for text and bytes, so what is not UTF-8 is
// only wrong where text is read.
func textValue(text []byte) value {
	v := value{kind: kindText, text: text}
	if !utf8.Valid(text) {
		v.flaw = flawNotUTF8
	}
	return v
}

func errBody(problem string) *FieldError {
	return &FieldError{Field: "body", Problem: problem, Undecodable: true}
}

// byteOrderMark is U+FEFF in UTF-8. Windows programs begin text files with it.
var byteOrderMark = []byte("\ufeff")

// utf16 reports whether data is text in UTF-16, which begins with its mark, or with an ASCII character of two bytes.
func utf16(data []byte) bool {
	return bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) ||
		len(data) > 3 && (data[0] == 0 && data[1] >= '\t' && data[2] == 0 || data[0] >= '\t' && data[0] < 0x7f && data[1] == 0 && data[3] == 0)
}

// readDocument reads the one map that a message is, as far as it is one: what was read before something went wrong is
// returned beside the error.
func readDocument(enc Encoding, data []byte, known func(string) bool) (*fieldReader, error) {
	b := &body{known: known, fields: make(map[string]value, 12), budget: maxValues}
	f := &fieldReader{fields: b.fields, json: enc == EncodingJSON}
	var err error
	switch {
	case len(data) == 0:
		err = errBody("is empty")
	case len(data) > MaxBodyBytes:
		err = errBody("is longer than 1 MiB")
	case enc == EncodingJSON:
		err = readJSON(b, data)
	default:
		err = readMsgpack(b, data)
	}
	f.unknown = b.unknown
	return f, err
}

// place is the line and column of an offset, for people.
func place(data []byte, offset int) string {
	offset = min(max(offset, 0), len(data))
	line := 1 + bytes.Count(data[:offset], []byte("\n"))
	column := offset - bytes.LastIndexByte(data[:offset], '\n')
	return fmt.Sprintf("at line %d, column %d", line, column)
}
