package entrustbus

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"time"
)

// fieldReader hands out the values of one map by name and type, and keeps the first error. Reading goes on behind an
// error: what can be read of a bad request is needed to answer it.
type fieldReader struct {
	fields map[string]value
	json   bool
	err    *FieldError
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

// get is the value of that name if it is there and of that kind.
func (f *fieldReader) get(name string, want valueKind) (value, bool) {
	v, ok := f.fields[name]
	if !ok {
		return value{}, false
	}
	if v.kind != want {
		fix := ""
		switch {
		case v.kind == kindNil:
			fix = "leave the key out"
		case v.kind == kindBytes && want == kindText:
			fix = "pack it as a str, not as a bin"
		case v.kind == kindText && want == kindBytes:
			fix = "pack it as a bin, not as a str"
		case v.kind == kindFloat && want == kindInt:
			fix = "write it without fraction and exponent"
		}
		f.fail(name, "must be "+want.String()+", is "+v.kind.String(), fix)
		return value{}, false
	}
	if v.torn {
		f.failTorn(name)
		return value{}, false
	}
	return v, true
}

func (f *fieldReader) failTorn(field string) {
	f.fail(field, "has half a surrogate pair, which is no character", "write characters beyond U+FFFF as they are, or as both halves")
}

func (f *fieldReader) text(name string) string {
	v, _ := f.get(name, kindText)
	return string(v.text)
}

func (f *fieldReader) flag(name string) bool {
	v, _ := f.get(name, kindBool)
	return v.flag
}

// bytes is a copy: the message belongs to the caller of the decoder.
func (f *fieldReader) bytes(name string) []byte {
	if !f.json {
		v, _ := f.get(name, kindBytes)
		if len(v.text) == 0 {
			return nil
		}
		return bytes.Clone(v.text)
	}
	v, ok := f.get(name, kindText)
	if !ok || len(v.text) == 0 {
		return nil
	}
	out := make([]byte, base64.StdEncoding.DecodedLen(len(v.text)))
	n, err := base64.StdEncoding.Decode(out, v.text)
	if err != nil {
		f.fail(name, "is not base64", "use the standard alphabet with padding")
		return nil
	}
	return out[:n]
}

// seconds is a duration that, if it is there, is at least one second: 0 is how the Go types say "not given".
func (f *fieldReader) seconds(name string) int64 {
	v, ok := f.get(name, kindInt)
	if ok && v.number < 1 {
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
		f.fail(name, "is no RFC 3339 time of the years 1 to 9999", "")
		return time.Time{}
	}
	return t.UTC()
}

func (f *fieldReader) list(name string) []string {
	v, ok := f.get(name, kindList)
	if !ok || len(v.list) == 0 {
		return nil
	}
	out := make([]string, 0, len(v.list))
	for i, item := range v.list {
		if item.kind != kindText {
			f.fail(fmt.Sprintf("%s[%d]", name, i), "must be a string, is "+item.kind.String(), "")
			return nil
		}
		if item.torn {
			f.failTorn(fmt.Sprintf("%s[%d]", name, i))
			return nil
		}
		out = append(out, string(item.text))
	}
	return out
}

func (f *fieldReader) labels(name string) map[string]string {
	v, ok := f.get(name, kindMap)
	if !ok || len(v.fields) == 0 {
		return nil
	}
	out := make(map[string]string, len(v.fields))
	for key, item := range v.fields {
		if item.kind != kindText {
			f.fail(name, "must map strings to strings, one value is "+item.kind.String(), "write it as a string")
			return nil
		}
		if item.torn {
			f.failTorn(name)
			return nil
		}
		out[key] = string(item.text)
	}
	return out
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
		f.fail(name+"."+e.Field, e.Problem, e.Fix)
	}
}

// version checks `v`. A body of another version may mean anything by its other keys, hence Undecodable.
func (f *fieldReader) version() error {
	v, ok := f.fields["v"]
	if !ok || v.kind == kindInt && v.number == Version {
		return nil
	}
	err := &FieldError{Field: "v", Problem: "is no version that this side knows", Fix: "use 1", Undecodable: true}
	if v.kind != kindInt {
		err.Problem = "must be an integer, is " + v.kind.String()
	}
	return err
}

// kind checks `kind` against the kind of the subject.
func (f *fieldReader) kind(subject Kind) error {
	v, ok := f.fields["kind"]
	if !ok || v.kind == kindText && Kind(v.text) == subject {
		return nil
	}
	err := &FieldError{Field: "kind", Problem: "does not agree with the subject", Fix: "leave it out, or publish to the subject of that kind"}
	if v.kind != kindText {
		err.Problem = "must be a string, is " + v.kind.String()
	} else if !Kind(v.text).Valid() {
		err.Problem = "is no kind of request"
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
