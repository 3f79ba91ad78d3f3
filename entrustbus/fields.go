package entrustbus

import (
	"encoding/base64"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// fieldReader hands out the values of one map by name and type, and keeps the first error. Reading goes on behind an
// error: what can be read of a bad request is needed to answer it.
type fieldReader struct {
	fields  map[string]value
	unknown []string
	json    bool
	err     *FieldError
}

func (f *fieldReader) fail(field, problem, fix string) {
	if f.err == nil {
		f.err = &FieldError{Field: field, Problem: problem, Fix: fix}
	}
}

func (f *fieldReader) failure() error {
	if f.err == nil {
		return nil
	}
	return f.err
}

// given is the value of that name, if it is there, is not nil, and has no flaw.
func (f *fieldReader) given(name string) (value, bool) {
	v, ok := f.fields[name]
	if !ok {
		return value{}, false
	}
	if v.flaw != (flaw{}) && v.flaw != flawNotUTF8 {
		f.fail(name, v.flaw.problem, v.flaw.fix)
		return value{}, false
	}
	return v, v.kind != kindNil
}

// get is the value of that name if it is there and of that kind. Nil counts as not there: many writers have it for a
// field without a value.
func (f *fieldReader) get(name string, want valueKind) (value, bool) {
	v, ok := f.given(name)
	if !ok {
		return value{}, false
	}
	return v, f.is(name, v, want)
}

func (f *fieldReader) is(name string, v value, want valueKind) bool {
	if v.kind == want {
		return true
	}
	fix := ""
	switch {
	case v.kind == kindFloat && want == kindInt:
		fix = "write it without fraction and exponent"
	case want == kindText && (v.kind == kindInt || v.kind == kindHuge):
		fix = "write it in quotes, as a string"
	case want == kindBool && v.kind == kindText:
		fix = "write true or false without quotes"
	case want == kindList && v.kind == kindText:
		fix = "write a list, even of one"
	}
	f.fail(name, "must be "+want.String()+", is "+v.kind.String(), fix)
	return false
}

// text is a string. Bytes that are UTF-8 are one as well: some writers of MessagePack have no other type.
func (f *fieldReader) text(name string) string {
	v, ok := f.given(name)
	if !ok {
		return ""
	}
	return f.asText(name, v)
}

func (f *fieldReader) asText(name string, v value) string {
	if v.flaw != (flaw{}) {
		f.fail(name, v.flaw.problem, v.flaw.fix)
		return ""
	}
	if v.kind == kindBytes && utf8.Valid(v.text) {
		return string(v.text)
	}
	if !f.is(name, v, kindText) {
		return ""
	}
	return string(v.text)
}

func (f *fieldReader) flag(name string) bool {
	v, _ := f.get(name, kindBool)
	return v.flag
}

// bytes is a copy: the message belongs to the caller of the decoder. Old writers of MessagePack have no type for bytes
// and pack them as a string.
func (f *fieldReader) bytes(name string) []byte {
	v, ok := f.given(name)
	if !ok {
		return nil
	}
	return f.asBytes(name, v)
}

func (f *fieldReader) asBytes(name string, v value) []byte {
	switch {
	case !f.json && (v.kind == kindBytes || v.kind == kindText):
		if len(v.text) == 0 {
			return nil
		}
		return append([]byte(nil), v.text...)
	case !f.json:
		f.is(name, v, kindBytes)
		return nil
	case !f.is(name, v, kindText):
		return nil
	}
	text := string(v.text)
	if strings.Contains(text, pemBegin) {
		return []byte(text) // what reads the bytes reads PEM as well
	}
	out, ok := fromBase64(text)
	if !ok {
		f.fail(name, "is not base64", "")
		return nil
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// fromBase64 reads base64 in either alphabet, with or without padding, with blanks and line ends inside.
func fromBase64(text string) ([]byte, bool) {
	text = strings.TrimRight(strings.Map(func(r rune) rune {
		switch {
		case invisible(r):
			return -1
		case r == '-':
			return '+'
		case r == '_':
			return '/'
		}
		return r
	}, text), "=")
	out, err := base64.RawStdEncoding.DecodeString(text)
	return out, err == nil
}

// seconds is a duration that, if it is there, is at least one second: 0 is how the Go types say "not given".
func (f *fieldReader) seconds(name string) int64 {
	v, ok := f.given(name)
	if !ok {
		return 0
	}
	if n, told := meantSeconds(v); told && v.kind != kindInt {
		f.fail(name, "must be an integer, is "+v.kind.String(), fmt.Sprintf("write the seconds as a number: %d", n))
		return 0
	}
	if !f.is(name, v, kindInt) {
		return 0
	}
	if v.number < 1 {
		f.fail(name, "must be at least 1", "leave the key out for the default")
	}
	return v.number
}

// count is a number of things.
func (f *fieldReader) count(name string) int {
	v, _ := f.get(name, kindInt)
	if v.number < 0 || v.number > 1<<31-1 {
		f.fail(name, "must be from 0 to 2147483647", "")
		return 0
	}
	return int(v.number)
}

func (f *fieldReader) time(name string) time.Time {
	if !f.json {
		v, _ := f.get(name, kindTime)
		return v.time
	}
	v, ok := f.get(name, kindText)
	if !ok {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, string(v.text))
	if err != nil || !carriable(t) {
		f.fail(name, "is not an RFC 3339 time of the years 1 to 9999", "")
		return time.Time{}
	}
	return t.UTC()
}

func (f *fieldReader) list(name string) []string {
	v, ok := f.get(name, kindList)
	if !ok || len(v.list) == 0 {
		return nil
	}
	out := make([]string, len(v.list))
	for i, item := range v.list {
		if item.kind == kindText && item.flaw == (flaw{}) {
			out[i] = string(item.text)
			continue
		}
		out[i] = f.asText(fmt.Sprintf("%s[%d]", name, i), item) // the path is dear, and most items are text
	}
	return out
}

// labels is a map of strings. A label that is nil is none.
func (f *fieldReader) labels(name string) map[string]string {
	v, ok := f.get(name, kindMap)
	if !ok || len(v.fields) == 0 {
		return nil
	}
	out := make(map[string]string, len(v.fields))
	for key, item := range v.fields {
		switch {
		case item.flaw != (flaw{}):
			f.fail(name, item.flaw.problem, item.flaw.fix)
			return nil
		case item.kind == kindNil:
			continue
		case item.kind == kindBytes && utf8.Valid(item.text):
		case item.kind != kindText:
			f.fail(name, "must map strings to strings, one value is "+item.kind.String(), "write it as a string")
			return nil
		}
		out[key] = string(item.text)
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// items reads a list of maps, each by read.
func (f *fieldReader) items(name string, read func(*fieldReader)) {
	v, _ := f.get(name, kindList)
	for i, item := range v.list {
		path := fmt.Sprintf("%s[%d]", name, i)
		if !f.is(path, item, kindMap) {
			return
		}
		inner := &fieldReader{fields: item.fields, json: f.json}
		if item.flaw != (flaw{}) {
			inner.fail("", item.flaw.problem, item.flaw.fix)
		}
		read(inner)
		f.adopt(path, inner)
	}
}

// inner reads the map of that name, nil if it is not there. adopt takes over its error, under its full name.
func (f *fieldReader) inner(name string) *fieldReader {
	v, ok := f.get(name, kindMap)
	if !ok {
		return nil
	}
	return &fieldReader{fields: v.fields, json: f.json}
}

func (f *fieldReader) adopt(name string, inner *fieldReader) {
	if e := inner.err; e != nil {
		f.fail(strings.TrimSuffix(name+"."+e.Field, "."), e.Problem, e.Fix)
	}
}

// version checks `v`. A body of another version may mean anything by its other keys, hence Undecodable.
func (f *fieldReader) version() error {
	v, ok := f.given("v")
	if !ok || v.kind == kindInt && v.number == Version {
		return nil
	}
	err := &FieldError{Field: "v", Problem: fmt.Sprintf("must be an integer, is %v", v.kind), Fix: "use 1", Undecodable: true}
	if v.kind == kindInt {
		err.Problem = fmt.Sprintf("is unsupported version %d (supported: %d)", v.number, Version)
	}
	return err
}

// kind checks `kind` against the kind of the subject.
func (f *fieldReader) kind(subject Kind) error {
	v, ok := f.given("kind")
	if !ok {
		return nil
	}
	if v.kind == kindBytes {
		v.kind = kindText
	}
	if v.kind == kindText && Kind(v.text) == subject {
		return nil
	}
	err := &FieldError{Field: "kind", Problem: "does not agree with the subject", Fix: "leave it out, or publish to the subject of that kind"}
	if v.kind != kindText {
		err.Problem = "must be a string, is " + v.kind.String()
	} else if !Kind(v.text).Valid() {
		err.Problem = "is an unknown request kind"
	}
	return err
}

// firstError is the first of the errors that is one.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
