package gateway

import (
	"encoding/json"
	"regexp"
	"slices"
)

// refusal holds the parts of an error body that may be logged and published. It never holds
// details, target, value or additionalProperties: they show the gateway's inside and what
// was sent.
type refusal struct {
	own     bool // the body is the gateway's own error body
	code    string
	message string
}

var (
	licenceLimit = regexp.MustCompile(`(?i)licen[cs]e|entitlement|inventory`)
	limitReached = regexp.MustCompile(`(?i)limit|exceed|reached|exhaust|maximum|insufficient|no more|used up|not enough|\bcap\b`)
	// A licence server that is down is a temporary problem, not a limit.
	notReached = regexp.MustCompile(`(?i)(not|n't) (be )?reach|unreachable`)
)

// meaning returns what the refusal means to op, apart from the HTTP status.
func (r refusal) meaning(op Op) meaning {
	switch text := r.code + " " + r.message; {
	case !r.own:
		return meansNothing
	case slices.Contains(orders, op) && licenceLimit.MatchString(text) && limitReached.MatchString(text) && !notReached.MatchString(text):
		return meansLicence
	case op == OpRevoke && (saysRevoked(r.code) || saysRevoked(r.message)):
		return meansRevoked
	}
	return meansError
}

// readRefusal reads an error body in one of the shapes that are known of the gateway, and in
// no other. Proxies, servlet containers and Spring Boot itself answer in JSON too, with
// members of the same names. So the whole body must have the shape:
//
//	cagw     {"type":"ErrorResponse","error":{"code":…,"message":…, …}, …}
//	certctl  {"error":"text"} or {"code":…,"message":…}, without further members
//
// While the dialect is unknown, the shapes of both count.
func readRefusal(body []byte, d Dialect) refusal {
	var wire map[string]json.RawMessage
	if parseObject(body, &wire) != nil {
		return refusal{}
	}
	r := refusal{}
	if d != DialectCertctl {
		r = readErrorResponse(wire)
	}
	if d != DialectCAGW && !r.own {
		r = readFlatError(wire)
	}
	r.code, r.message = bound(r.code, maxCode), clean(r.message)
	return r
}

type codeAndMessage struct {
	Code    text `json:"code"`
	Message text `json:"message"`
}

func (e codeAndMessage) refusal() refusal {
	return refusal{own: e.Code != "" || e.Message != "", code: string(e.Code), message: string(e.Message)}
}

func readErrorResponse(wire map[string]json.RawMessage) refusal {
	var inner codeAndMessage
	if kind, ok := plainText(wire["type"]); !ok || kind != "ErrorResponse" || json.Unmarshal(wire["error"], &inner) != nil {
		return refusal{}
	}
	return inner.refusal()
}

func readFlatError(wire map[string]json.RawMessage) refusal {
	if message, ok := plainText(wire["error"]); ok && len(wire) == 1 {
		return refusal{own: message != "", message: message}
	}
	var flat codeAndMessage
	if len(wire) != 2 || wire["code"] == nil || wire["message"] == nil ||
		json.Unmarshal(wire["code"], &flat.Code) != nil || json.Unmarshal(wire["message"], &flat.Message) != nil {
		return refusal{}
	}
	return flat.refusal()
}

// readReason reads why an order was rejected from an answer with a rejected word: its error
// or its message, in any shape.
func readReason(body []byte) (code, message string) {
	var wire struct {
		Error   json.RawMessage `json:"error"`
		Message json.RawMessage `json:"message"`
	}
	if json.Unmarshal(body, &wire) != nil {
		return "", ""
	}
	code, message = readMessage(wire.Error)
	if message == "" {
		_, message = readMessage(wire.Message)
	}
	return bound(code, maxCode), clean(message)
}

// readMessage reads a string, or the members code and message of an object.
func readMessage(raw json.RawMessage) (code, message string) {
	if s, ok := plainText(raw); ok {
		return "", s
	}
	var nested codeAndMessage
	if len(raw) == 0 || json.Unmarshal(raw, &nested) != nil {
		return "", ""
	}
	return string(nested.Code), string(nested.Message)
}

func plainText(raw json.RawMessage) (string, bool) {
	var s string
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return "", false
	}
	return s, true
}

// text is a JSON string that a gateway may also write as a number.
type text string

// UnmarshalJSON takes a string, a number or null.
func (t *text) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && (data[0] == '-' || data[0] >= '0' && data[0] <= '9') {
		*t = text(data)
		return nil
	}
	return json.Unmarshal(data, (*string)(t))
}
