package gateway

import (
	"bytes"
	"encoding/json"
	"strings"
)

// members holds the raw members of a JSON object, so that a member of an unexpected type
// hides no other.
type members map[string]json.RawMessage

// readMembers reads the members of an object. If the object is truncated or damaged, it
// returns the members up to and including the damaged one, and false. It returns nil if
// body is no object.
func readMembers(body []byte) (m members, whole bool) {
	body = bytes.TrimSpace(bytes.TrimPrefix(bytes.TrimSpace(body), []byte("\ufeff")))
	if len(body) == 0 || body[0] != '{' {
		return nil, false
	}
	if json.Unmarshal(body, &m) == nil {
		return m, true
	}
	m = members{}
	dec := json.NewDecoder(bytes.NewReader(body))
	if _, err := dec.Token(); err != nil {
		return m, false
	}
	for dec.More() {
		key, err := dec.Token()
		name, ok := key.(string)
		if err != nil || !ok {
			return m, false
		}
		at := dec.InputOffset()
		var value json.RawMessage
		if dec.Decode(&value) != nil {
			m[name] = bytes.TrimLeft(body[at:], ": \t\r\n")
			return m, false
		}
		m[name] = value
	}
	return m, false
}

// get returns the member of this name, in any letter case, or nil.
func (m members) get(name string) json.RawMessage {
	if raw, ok := m[name]; ok {
		return raw
	}
	for key, raw := range m {
		if strings.EqualFold(key, name) {
			return raw
		}
	}
	return nil
}

// text returns a member that is a text or a number, trimmed; "" if it is neither.
func (m members) text(name string) string {
	var t text
	if raw := m.get(name); len(raw) == 0 || json.Unmarshal(raw, &t) != nil {
		return ""
	}
	return strings.TrimSpace(string(t))
}

// texts returns the texts and numbers of a member that is an object; nil if there are none.
func (m members) texts(name string) map[string]string {
	inner, _ := readMembers(m.get(name))
	var all map[string]string
	for key := range inner {
		if value := inner.text(key); value != "" {
			if all == nil {
				all = map[string]string{}
			}
			all[key] = value
		}
	}
	return all
}
