package entrustbus

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/vmihailenco/msgpack/v5"
)

// document is a map in the order it is written in. Values are string, int64, float64, bool, []byte, time.Time, []string,
// map[string]string, document, and []any of these.
type document []pair

type pair struct {
	key   string
	value any
}

func (d document) must(key string, value any) document { return append(d, pair{key, value}) }

func (d document) encode(enc Encoding) ([]byte, error) {
	if err := d.check(""); err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	buf.Grow(d.size())
	var err error
	switch enc {
	case EncodingMsgpack:
		e := msgpack.GetEncoder()
		defer msgpack.PutEncoder(e)
		e.Reset(&buf)
		err = d.pack(e)
	case EncodingJSON:
		scalar := json.NewEncoder(&buf)
		scalar.SetEscapeHTML(false)
		err = d.writeJSON(&buf, scalar)
	default:
		return nil, fmt.Errorf("entrustbus: no such encoding: %v", enc)
	}
	if err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// check refuses what one of the encodings could not carry, so that both carry the same. Neither encoder would: one
// writes bytes that no strict reader takes, the other puts U+FFFD in their place.
func (d document) check(path string) error {
	for _, p := range d {
		if !utf8.ValidString(p.key) {
			return &FieldError{Field: strings.TrimSuffix(path, "."), Problem: "is not UTF-8"}
		}
		if err := checkValue(path+p.key, p.value); err != nil {
			return err
		}
	}
	return nil
}

func checkValue(path string, value any) error {
	sound := true
	switch v := value.(type) {
	case string:
		sound = utf8.ValidString(v)
	case []string:
		sound = !slices.ContainsFunc(v, notUTF8)
	case map[string]string:
		for key, value := range v {
			sound = sound && utf8.ValidString(key) && utf8.ValidString(value)
		}
	case time.Time:
		if !carriable(v) {
			return &FieldError{Field: path, Problem: "is not a time of the years 1 to 9999"}
		}
	case document:
		return v.check(path + ".")
	case []any:
		for i, item := range v {
			if err := checkValue(fmt.Sprintf("%s[%d]", path, i), item); err != nil {
				return err
			}
		}
	case int64, float64, bool, []byte:
	default:
		return &FieldError{Field: path, Problem: fmt.Sprintf("cannot be encoded: it is a Go %T", value)}
	}
	if !sound {
		return &FieldError{Field: path, Problem: "is not UTF-8"}
	}
	return nil
}

// size is about how many bytes d takes: its texts, and some for each value beside them.
func (d document) size() int {
	n := 0
	for _, p := range d {
		n += len(p.key) + 16
		switch v := p.value.(type) {
		case string:
			n += len(v) + len(v)/32 // line breaks of PEM count twice in JSON
		case []byte:
			n += len(v) * 4 / 3
		case document:
			n += v.size()
		}
	}
	return n
}

func notUTF8(s string) bool { return !utf8.ValidString(s) }

// carriable reports whether RFC 3339 can say t.
func carriable(t time.Time) bool {
	year := t.UTC().Year()
	return year >= 1 && year <= 9999
}

func (d document) pack(e *msgpack.Encoder) error {
	if err := e.EncodeMapLen(len(d)); err != nil {
		return err
	}
	for _, p := range d {
		if err := e.EncodeString(p.key); err != nil {
			return err
		}
		if err := packValue(e, p.value); err != nil {
			return err
		}
	}
	return nil
}

func packValue(e *msgpack.Encoder, value any) error {
	switch v := value.(type) {
	case string:
		return e.EncodeString(v)
	case int64:
		return e.EncodeInt(v)
	case bool:
		return e.EncodeBool(v)
	case []byte:
		return e.EncodeBytes(v)
	case time.Time:
		return e.EncodeTime(v)
	case []string:
		if err := e.EncodeArrayLen(len(v)); err != nil {
			return err
		}
		for _, s := range v {
			if err := e.EncodeString(s); err != nil {
				return err
			}
		}
		return nil
	case map[string]string:
		if err := e.EncodeMapLen(len(v)); err != nil {
			return err
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if err := e.EncodeString(key); err != nil {
				return err
			}
			if err := e.EncodeString(v[key]); err != nil {
				return err
			}
		}
		return nil
	case float64:
		return e.EncodeFloat64(v)
	case []any:
		if err := e.EncodeArrayLen(len(v)); err != nil {
			return err
		}
		for _, item := range v {
			if err := packValue(e, item); err != nil {
				return err
			}
		}
		return nil
	case document:
		return v.pack(e)
	}
	panic(fmt.Sprintf("entrustbus: no encoding for %T", value))
}

func (d document) writeJSON(buf *bytes.Buffer, scalar *json.Encoder) error {
	buf.WriteByte('{')
	for i, p := range d {
		if i > 0 {
			buf.WriteByte(',')
		}
		if err := writeJSON(buf, scalar, p.key); err != nil {
			return err
		}
		buf.WriteByte(':')
		if err := writeJSON(buf, scalar, p.value); err != nil {
			return err
		}
	}
	buf.WriteByte('}')
	return nil
}

func writeJSON(buf *bytes.Buffer, scalar *json.Encoder, value any) error {
	switch v := value.(type) {
	case document:
		return v.writeJSON(buf, scalar)
	case []any:
		buf.WriteByte('[')
		for i, item := range v {
			if i > 0 {
				buf.WriteByte(',')
			}
			if err := writeJSON(buf, scalar, item); err != nil {
				return err
			}
		}
		buf.WriteByte(']')
		return nil
	case time.Time:
		value = v.UTC() // time.Time writes RFC 3339 with as many fractional digits as it needs
	}
	if err := scalar.Encode(value); err != nil { // sorts the keys of labels, writes []byte as base64
		return err
	}
	buf.Truncate(buf.Len() - 1) // the encoder ends every value with a newline
	return nil
}
