package entrustbus

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// jsonReader reads JSON into values, token by token: Unmarshal takes the last of equal keys, matches keys whatever
// their case, and puts U+FFFD in the place of what is not UTF-8.
type jsonReader struct {
	data []byte
	dec  *json.Decoder
	body *body
}

func readJSON(b *body, data []byte) error {
	if utf16(data) {
		return &FieldError{Field: "body", Problem: "is UTF-16", Fix: "write JSON as UTF-8", Undecodable: true}
	}
	data = bytes.TrimPrefix(data, byteOrderMark)
	r := jsonReader{data: data, dec: json.NewDecoder(bytes.NewReader(data)), body: b}
	r.dec.UseNumber()
	if err := r.object(); err != nil {
		return err
	}
	end := r.dec.InputOffset()
	if _, err := r.dec.Token(); err != io.EOF {
		rest := data[end:]
		blanks := len(rest) - len(bytes.TrimLeft(rest, " \t\r\n"))
		return errBody("has text behind its JSON object " + place(data, int(end)+blanks))
	}
	return nil
}

// object reads the message itself.
func (r *jsonReader) object() error {
	token, _, err := r.token()
	if err != nil {
		return r.malformed()
	}
	if token != json.Delim('{') {
		v, _ := r.of(token, flaw{}, maxDepth) // at this depth no list is read
		if token == json.Delim('[') {
			v.kind = kindList
		}
		return errBody("is not a map but " + v.kind.String())
	}
	var skipped json.RawMessage
	for r.dec.More() {
		token, bent, err := r.token()
		key, ok := token.(string)
		if err != nil || !ok {
			return r.malformed()
		}
		if bent != (flaw{}) || len(key) > maxKeyLength || r.body.skips([]byte(key)) {
			if r.dec.Decode(&skipped) != nil {
				return r.malformed()
			}
			continue
		}
		v, err := r.value(1)
		if err != nil {
			return err
		}
		put(r.body.fields, key, v)
	}
	return r.end()
}

func (r *jsonReader) value(depth int) (value, error) {
	token, bent, err := r.token()
	if err != nil {
		return value{}, r.malformed()
	}
	return r.of(token, bent, depth)
}

// of is the value that begins with a token.
func (r *jsonReader) of(token json.Token, bent flaw, depth int) (value, error) {
	if err := r.body.take(); err != nil {
		return value{}, err
	}
	switch t := token.(type) {
	case nil:
		return value{}, nil
	case bool:
		return value{kind: kindBool, flag: t}, nil
	case string:
		return value{kind: kindText, text: []byte(t), flaw: bent}, nil
	case json.Number:
		return number(t.String()), nil
	case json.Delim:
		if depth >= maxDepth {
			return value{}, errBody("nests too deeply")
		}
		if t == '[' {
			return r.list(depth)
		}
		if t == '{' {
			return r.fields(depth)
		}
	}
	return value{}, r.malformed()
}

// token is the next token, and what is wrong with it if it is a string that was not read as it is written: the decoder
// puts U+FFFD in the place of half a surrogate pair (\ud800 without its other half), and of what is not UTF-8.
func (r *jsonReader) token() (token json.Token, bent flaw, err error) {
	start := r.dec.InputOffset()
	token, err = r.dec.Token()
	if s, ok := token.(string); ok && strings.ContainsRune(s, utf8.RuneError) {
		switch raw := r.data[start:r.dec.InputOffset()]; {
		case !utf8.Valid(raw):
			bent = flawNotUTF8
		case halfPair(raw):
			bent = flawTorn
		}
	}
	return token, bent, err
}

// halfPair reports whether a token of well-formed JSON has a \u escape of one half of a surrogate pair without the other.
func halfPair(data []byte) bool {
	var before rune // the escape right before, 0 if none
	for i := 0; i < len(data); i++ {
		var escaped rune
		switch {
		case data[i] != '\\':
		case data[i+1] != 'u':
			i++
		default:
			n, _ := strconv.ParseUint(string(data[i+2:i+6]), 16, 16) // the decoder has read it
			escaped, i = rune(n), i+5
		}
		high, low := 0xd800 <= before && before < 0xdc00, 0xdc00 <= escaped && escaped < 0xe000
		if high != low {
			return true
		}
		before = escaped
	}
	return false // text ends with a quote, which is no escape
}

// number keeps a fraction or an exponent apart from an integer even where its value is whole: 9e1 seconds is a
// mistake more often than a choice.
func number(s string) value {
	if strings.ContainsAny(s, ".eE") {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			f = math.Inf(1)
		}
		return value{kind: kindFloat, float: f}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return value{kind: kindHuge}
	}
	return value{kind: kindInt, number: n}
}

func (r *jsonReader) list(depth int) (value, error) {
	v := value{kind: kindList}
	for r.dec.More() {
		item, err := r.value(depth + 1)
		if err != nil {
			return value{}, err
		}
		v.list = append(v.list, item)
	}
	return v, r.end()
}

func (r *jsonReader) fields(depth int) (value, error) {
	v := value{kind: kindMap, fields: make(map[string]value, 4)}
	for r.dec.More() {
		token, bent, err := r.token()
		key, ok := token.(string)
		if err != nil || !ok {
			return value{}, r.malformed()
		}
		if len(key) > maxKeyLength || len(v.fields) >= maxMapKeys {
			return value{}, errBody("has an object with too many keys, or with a key that is too long")
		}
		item, err := r.value(depth + 1)
		if err != nil {
			return value{}, err
		}
		if bent != (flaw{}) {
			v.flaw = bent
		}
		put(v.fields, key, item)
	}
	return v, r.end()
}

// end reads the closing bracket.
func (r *jsonReader) end() error {
	if _, err := r.dec.Token(); err != nil {
		return r.malformed()
	}
	return nil
}

// malformed says where the text stops being JSON. The decoder's own offsets are those of its buffer, so the text is read
// once more; the words are the library's, which quote one character of the text at most.
func (r *jsonReader) malformed() *FieldError {
	var all json.RawMessage
	var syntax *json.SyntaxError
	if err := json.Unmarshal(r.data, &all); errors.As(err, &syntax) {
		return errBody("is not well-formed JSON " + place(r.data, int(syntax.Offset)-1) + ": " + syntax.Error())
	}
	return errBody("is not well-formed JSON")
}
