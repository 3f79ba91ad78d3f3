package entrustbus

import (
	"fmt"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// field is one key of a message. A table of fields is the one place that says how a key is encoded, decoded, bounded, part
// of a digest, and described in a schema.
type field struct {
	key string
	// at is the Go field of a message: a pointer to what the shape reads and writes.
	at    func(message any) any
	shape shape
	// required is checked by Validate, and always writes the value of a result even where it is zero.
	required, always bool
	// digest appends what the field asks for; nil: its value under its key. See Digest.
	digest func(b []byte, message any) ([]byte, error)
	// about describes the key to people, in a schema.
	about string
}

// at makes the accessor of a field from a function of the message's own type.
func at[T any](get func(*T) any) func(any) any {
	return func(message any) any { return get(message.(*T)) }
}

// uncounted is the digest of a field that asks for nothing: labels, and what repeats or only checks another field.
func uncounted(b []byte, _ any) ([]byte, error) { return b, nil }

// shape is the form of a value. The pointer that its methods get is of the one type that the shape is for.
type shape interface {
	read(f *fieldReader, key string, to any)
	// write is the value for an encoder; nil for a zero value.
	write(from any) any
	// check reports a value beyond its bounds as a *FieldError.
	check(key string, of any) error
	// content appends the value to what a digest is over.
	content(b []byte, key string, of any) []byte
	// schema is the value's JSON Schema, without description.
	schema() document
}

// table is the keys of one kind of message in the contract's order.
type table []field

func (t table) keys() []string {
	keys := make([]string, len(t))
	for i, f := range t {
		keys[i] = f.key
	}
	return keys
}

func (t table) has(key string) bool {
	return slices.ContainsFunc(t, func(f field) bool { return f.key == key })
}

func (t table) read(f *fieldReader, message any) {
	for _, field := range t {
		field.shape.read(f, field.key, field.at(message))
	}
}

func (t table) write(d document, message any) document {
	for _, field := range t {
		v := field.shape.write(field.at(message))
		if v == nil && field.always {
			v = zeroOf(field.at(message))
		}
		if v != nil {
			d = d.must(field.key, v)
		}
	}
	return d
}

// zeroOf is the zero that a field has on the wire where it is always written.
func zeroOf(p any) any {
	switch p.(type) {
	case *bool:
		return false
	case *int:
		return int64(0)
	}
	return ""
}

func (t table) check(message any) error {
	for _, field := range t {
		p := field.at(message)
		if field.required && field.shape.write(p) == nil {
			return errMissing(field.key)
		}
		if err := field.shape.check(field.key, p); err != nil {
			return err
		}
	}
	return nil
}

func (t table) content(b []byte, message any) ([]byte, error) {
	for _, field := range t {
		if field.digest == nil {
			b = field.shape.content(b, field.key, field.at(message))
			continue
		}
		var err error
		if b, err = field.digest(b, message); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// text is a *string.
type text struct {
	most     int
	line     bool                          // one line for people
	rule     func(key, value string) error // what else it must be
	pem      *thing                        // what is read of it may be bytes, and is written as PEM
	numbers  bool                          // an integer is read as its digits
	pattern  string                        // of the schema
	enum     []string                      // of the schema
	whatElse document                      // of the schema
}

func (s text) read(f *fieldReader, key string, to any) {
	v, ok := f.given(key)
	if !ok {
		return
	}
	out := to.(*string)
	switch {
	case s.pem != nil && (v.kind == kindBytes || v.kind == kindText) && !f.json && isDER(v.text):
		*out = s.pem.written(v.text)
	case s.pem != nil && v.kind == kindBytes && !utf8.Valid(v.text) && utf16(v.text):
		f.fail(key, "is UTF-16", "write it as UTF-8")
	case s.numbers && v.kind == kindInt:
		*out = strconv.FormatInt(v.number, 10)
	default:
		*out = f.asText(key, v)
	}
}

func (s text) write(from any) any {
	if v := *from.(*string); v != "" {
		return v
	}
	return nil
}

func (s text) check(key string, of any) error {
	v := *of.(*string)
	if v == "" {
		return nil
	}
	if s.line {
		if err := checkText(key, v, s.most); err != nil {
			return err
		}
	} else if s.most > 0 && len(v) > s.most {
		return errTooLong(key, s.most)
	}
	if s.rule == nil {
		return nil
	}
	return s.rule(key, v)
}

func (s text) content(b []byte, key string, of any) []byte { return appendPart(b, key, *of.(*string)) }

func (s text) schema() document {
	d := document(nil).must("type", "string")
	if s.most > 0 {
		d = d.must("maxLength", int64(s.most))
	}
	if s.pattern != "" {
		d = d.must("pattern", s.pattern)
	}
	if s.enum != nil {
		d = d.must("enum", s.enum)
	}
	return append(d, s.whatElse...)
}

// blob is a *[]byte.
type blob struct{ most int }

func (s blob) read(f *fieldReader, key string, to any) { *to.(*[]byte) = f.bytes(key) }

func (s blob) write(from any) any {
	if v := *from.(*[]byte); len(v) > 0 {
		return v
	}
	return nil
}

func (s blob) check(key string, of any) error {
	if len(*of.(*[]byte)) > s.most {
		return errTooLong(key, s.most)
	}
	return nil
}

func (s blob) content(b []byte, key string, of any) []byte {
	return appendPart(b, key, string(*of.(*[]byte)))
}

func (s blob) schema() document {
	return document(nil).must("type", "string").must("contentEncoding", "base64").
		must("maxLength", int64((s.most+2)/3*4)).
		must("pattern", "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$")
}

// seconds is an *int64 of at least 1, where 0 is "not given".
type seconds struct{ most int64 }

func (s seconds) read(f *fieldReader, key string, to any) { *to.(*int64) = f.seconds(key) }

func (s seconds) write(from any) any {
	if v := *from.(*int64); v != 0 {
		return v
	}
	return nil
}

func (s seconds) check(key string, of any) error {
	if n := *of.(*int64); n < 0 || n > s.most {
		return &FieldError{Field: key, Problem: fmt.Sprintf("must be from 1 to %d", s.most)}
	}
	return nil
}

func (s seconds) content(b []byte, key string, of any) []byte {
	return appendNumber(b, key, *of.(*int64))
}

func (s seconds) schema() document {
	return document(nil).must("type", "integer").must("minimum", int64(1)).must("maximum", s.most)
}

// count is an *int from 0, version one that is 1.
type (
	count   struct{}
	version struct{ count }
)

func (count) read(f *fieldReader, key string, to any) { *to.(*int) = f.count(key) }

func (count) write(from any) any {
	if v := *from.(*int); v != 0 {
		return int64(v)
	}
	return nil
}

func (count) check(string, any) error { return nil }
func (count) content(b []byte, key string, of any) []byte {
	return appendNumber(b, key, int64(*of.(*int)))
}

func (count) schema() document {
	return document(nil).must("type", "integer").must("minimum", int64(0)).must("maximum", int64(1<<31-1))
}

func (version) read(_ *fieldReader, _ string, to any) { *to.(*int) = Version }
func (version) write(any) any                         { return int64(Version) }
func (version) schema() document {
	return document(nil).must("type", "integer").must("const", int64(Version))
}

// flag is a *bool.
type flag struct{}

func (flag) read(f *fieldReader, key string, to any) { *to.(*bool) = f.flag(key) }

func (flag) write(from any) any {
	if *from.(*bool) {
		return true
	}
	return nil
}

func (flag) check(string, any) error { return nil }

func (flag) content(b []byte, key string, of any) []byte {
	if *of.(*bool) {
		return appendPart(b, key, "true")
	}
	return b
}

func (flag) schema() document { return document(nil).must("type", "boolean") }

// instant is a *time.Time.
type instant struct{}

func (instant) read(f *fieldReader, key string, to any) { *to.(*time.Time) = f.time(key) }

func (instant) write(from any) any {
	if v := *from.(*time.Time); !v.IsZero() {
		return v
	}
	return nil
}

func (instant) check(string, any) error                  { return nil }
func (instant) content(b []byte, _ string, _ any) []byte { return b }

func (instant) schema() document {
	return document(nil).must("type", "string").must("format", "date-time")
}
