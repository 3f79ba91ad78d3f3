package gateway

import (
	"encoding/json"
	"regexp"
	"slices"
)

// refusal is what may be repeated of an error body: never its details, target,
// value or additionalProperties, which show the gateway's inside and what was sent.
type refusal struct {
	given   bool // an error body it was
	code    string
	message string
}

var (
	licenceLimit = regexp.MustCompile(`(?i)licen[cs]e|entitlement|inventory`)
	limitReached = regexp.MustCompile(`(?i)limit|exceed|reached|exhaust|maximum|insufficient|no more|used up|not enough|\bcap\b`)
	// A licence server that is down limits nothing for good.
	notReached = regexp.MustCompile(`(?i)(not|n't) (be )?reach|unreachable`)
	isRevoked  = regexp.MustCompile(`(?i)already\s+(been\s+)?revoked|already\s+in\s+(the\s+)?requested\s+state`)
)

// meaning returns what the refusal says to op beyond its status.
func (r refusal) meaning(op Op) meaning {
	switch text := r.code + " " + r.message; {
	case !r.given:
		return meansNothing
	case slices.Contains(orders, op) && licenceLimit.MatchString(text) && limitReached.MatchString(text) && !notReached.MatchString(text):
		return meansLicence
	case op == OpRevoke && isRevoked.MatchString(text):
		return meansRevoked
	}
	return meansError
}

// readRefusal reads an error body of any of the shapes seen: the gateway's
// {error:{code,message}}, certctl's {error:"text"}, and {errors:[{message}]}. Proxies
// answer as they like, so anything else is no error but simply no error body. Of an
// answer that is none the message member is read all the same.
func readRefusal(body []byte) refusal {
	var wire struct {
		Type    text            `json:"type"`
		Error   json.RawMessage `json:"error"`
		Message json.RawMessage `json:"message"`
		Errors  []struct {
			Message text `json:"message"`
		} `json:"errors"`
	}
	if json.Unmarshal(body, &wire) != nil {
		return refusal{}
	}
	var inner struct {
		Code    text `json:"code"`
		Message text `json:"message"`
	}
	r := refusal{given: wire.Type == "ErrorResponse"}
	if s, ok := plainText(wire.Error); ok {
		r.message = s
	} else if len(wire.Error) > 0 && json.Unmarshal(wire.Error, &inner) == nil {
		r.code, r.message = string(inner.Code), string(inner.Message)
	}
	if len(wire.Errors) > 0 && r.message == "" {
		r.message = string(wire.Errors[0].Message)
	}
	// A server may write an empty error member into every answer.
	r.given = r.given || r.code != "" || r.message != "" || len(wire.Errors) > 0
	if r.message == "" {
		r.message = readMessage(wire.Message)
	}
	r.code, r.message = bound(r.code, maxCode), clean(r.message)
	return r
}

// readMessage reads the message member of an answer: {message,details} or a string.
func readMessage(raw json.RawMessage) string {
	if s, ok := plainText(raw); ok {
		return s
	}
	var nested struct {
		Message text `json:"message"`
	}
	if len(raw) == 0 || json.Unmarshal(raw, &nested) != nil {
		return ""
	}
	return string(nested.Message)
}

func plainText(raw json.RawMessage) (string, bool) {
	var s string
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return "", false
	}
	return s, true
}

// text is a string on the wire that a gateway may also write as a number.
type text string

// UnmarshalJSON takes a string, a number or null.
func (t *text) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && (data[0] == '-' || data[0] >= '0' && data[0] <= '9') {
		*t = text(data)
		return nil
	}
	return json.Unmarshal(data, (*string)(t))
}
