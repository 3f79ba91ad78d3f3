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
	dec    *json.Decoder
	budget budget
}

func readJSON(data []byte) (value, error) {
	if !utf8.Valid(data) {
		return value{}, errBody("is not UTF-8")
	}
	r := jsonReader{dec: json.NewDecoder(bytes.NewReader(data)), budget: maxValues}
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
	token, err := r.dec.Token()
	if err != nil {
		return value{}, errJSON()
	}
	switch t := token.(type) {
	case nil:
		return value{}, nil
	case bool:
		return value{kind: kindBool, flag: t}, nil
	case string:
		return value{kind: kindText, text: []byte(t)}, nil
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
		token, err := r.dec.Token()
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
