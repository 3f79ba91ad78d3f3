package entrustbus

import (
	"bytes"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// jsonReader reads JSON into values, token by token: Unmarshal takes the last of equal keys, matches keys whatever
// their case, and puts U+FFFD in the place of what is not UTF-8.
type jsonReader struct {
	data   []byte
	dec    *json.Decoder
	budget budget
}

func readJSON(data []byte) (value, error) {
	if !utf8.Valid(data) {
		return value{}, errBody("is not UTF-8")
	}
	r := jsonReader{data: data, dec: json.NewDecoder(bytes.NewReader(data)), budget: maxValues}
	r.dec.UseNumber()
	v, err := r.value(0)
	if err != nil {
		return value{}, err
	}
	if _, err := r.dec.Token(); err != io.EOF {
		return value{}, errBody("has text behind its JSON object")
	}
	return v, nil
}

func (r *jsonReader) value(depth int) (value, error) {
	if err := r.budget.take(); err != nil {
		return value{}, err
	}
	token, torn, err := r.token()
	if err != nil {
		return value{}, errJSON()
	}
	switch t := token.(type) {
	case nil:
		return value{}, nil
	case bool:
		return value{kind: kindBool, flag: t}, nil
	case string:
		return value{kind: kindText, text: []byte(t), torn: torn}, nil
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
	return value{}, errJSON()
}

// token is the next token, and whether it is a string that was not read as it is written: the decoder puts U+FFFD in the
// place of half a surrogate pair (\ud800 without its other half) as well.
func (r *jsonReader) token() (token json.Token, torn bool, err error) {
	start := r.dec.InputOffset()
	token, err = r.dec.Token()
	if s, ok := token.(string); ok && strings.ContainsRune(s, utf8.RuneError) {
		torn = halfPair(r.data[start:r.dec.InputOffset()])
	}
	return token, torn, err
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
		return value{kind: kindFloat}
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
	v := value{kind: kindMap, fields: make(map[string]value, 12)}
	for r.dec.More() {
		token, torn, err := r.token()
		key, ok := token.(string)
		if err != nil || !ok {
			return value{}, errJSON()
		}
		if len(key) > maxKeyLength {
			return value{}, errBody("has a key that is too long")
		}
		if len(v.fields) >= maxMapKeys {
			return value{}, errBody("has an object with too many keys")
		}
		v.torn = v.torn || torn
		item, err := r.value(depth + 1)
		if err != nil {
			return value{}, err
		}
		if err := put(v.fields, key, item); err != nil {
			return value{}, err
		}
	}
	return v, r.end()
}

// end reads the closing bracket.
func (r *jsonReader) end() error {
	if _, err := r.dec.Token(); err != nil {
		return errJSON()
	}
	return nil
}

func errJSON() *FieldError { return errBody("is not well-formed JSON") }
