package gateway

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Op is an operation of the gateway.
type Op string

// The operations.
const (
	OpEnroll Op = "enroll"
	OpPoll   Op = "poll"
	OpRevoke Op = "revoke"
	OpFind   Op = "find"
	OpProbe  Op = "probe"
)

// Fate says what a request without a usable answer means for the caller. The zero value is
// no fate: the request succeeded.
type Fate int

const (
	// Refused: the gateway refused this request for good.
	Refused Fate = iota + 1
	// NotAccepted: the gateway provably did not accept the request. The caller may send the
	// same request again.
	NotAccepted
	// Throttled: not accepted, because of too many requests. RetryAfter says when to send it
	// again.
	Throttled
	// Unauthorized: not accepted, because the gateway does not accept the client, or the
	// client's key pair cannot be read. The request is not at fault.
	Unauthorized
	// Unknown ("indeterminate"): the gateway may have accepted the request. The caller may
	// simply repeat a poll, a look-up, a probe or a revocation, but not an enrollment.
	Unknown
	// Unreadable ("malformed answer"): the gateway accepted the request, or seems to say so,
	// in an answer that cannot be understood. For a look-up: the same look-up again brings the
	// same answer. For a poll: the answer may also come from another server than the gateway.
	Unreadable
	// NotFound: the gateway does not know the order, and had time to learn of it.
	NotFound
)

// String returns the fate as an error names it.
func (f Fate) String() string {
	switch f {
	case Refused:
		return "refused"
	case NotAccepted:
		return "not accepted"
	case Throttled:
		return "throttled"
	case Unauthorized:
		return "unauthorized"
	case Unknown:
		return "indeterminate"
	case Unreadable:
		return "malformed answer"
	case NotFound:
		return "not found"
	}
	return "no fate"
}

// The classes of errors, as in error.class of a result.
const (
	classTimeout     = "timeout"
	classAuth        = "auth"
	classRateLimited = "rate_limited"
	classValidation  = "validation"
	class5xx         = "upstream_5xx"
	class4xx         = "upstream_4xx"
	classNetwork     = "network"
	classPolicy      = "policy"
	classOther       = "other"
)

// ErrNoLookup means that the gateway's dialect has no look-up of issued certificates.
var ErrNoLookup = errors.New("gateway: the dialect has no look-up of issued certificates")

// Error is an unwanted answer of the gateway, or a missing one. Its text and exported fields
// are safe to log and to publish: one line, bounded, without details or body of the answer.
type Error struct {
	// Op is the operation that failed.
	Op Op
	// Fate says what the caller may do next.
	Fate Fate
	// Class is the error's class on the bus: timeout, auth, rate_limited,
	// validation, upstream_5xx, upstream_4xx, network, policy or other.
	Class string
	// Code is the gateway's own code ("cagw-4018"), at most 64 characters.
	Code string
	// Message is one line of at most 200 characters: the gateway's message, or else what
	// went wrong.
	Message string
	// HTTPStatus is the status of the answer; 0 without an answer.
	HTTPStatus int
	// RetryAfter is how long the gateway asks the client to wait, within the bounds of the
	// configuration; 0 if it does not ask.
	RetryAfter time.Duration
	// Own: the answer is the gateway's own, recognised by its error body (or a CA's status).
	// If false, a proxy may have answered, or there was no answer.
	Own bool
	// Written: the whole request of an enrollment was written once, or may have been. It
	// counts as a submission, whatever its fate.
	Written bool
	// TrackingID and Serial are the readable parts of a malformed answer to an enrollment or
	// a poll; "" if it has none. Serial is lower-case hexadecimal.
	TrackingID, Serial string

	cause error
}

// Error returns the operation, the fate, the status and the bounded message.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "gateway %s: %s", e.Op, e.Fate)
	if e.HTTPStatus != 0 {
		fmt.Fprintf(&b, " (%d", e.HTTPStatus)
		if e.Code != "" {
			b.WriteString(" " + e.Code)
		}
		b.WriteByte(')')
	}
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	return b.String()
}

// Unwrap returns the cause of a missing answer, so that errors.Is finds context.Canceled;
// nil if the gateway answered. Its text is not bounded: log the Error, not its cause.
func (e *Error) Unwrap() error { return e.cause }

// FateOf returns the fate of the first *Error in err's chain. It returns 0 for nil, and
// Unknown for any other error, which proves nothing about the request.
func FateOf(err error) Fate {
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Fate
	}
	return Unknown
}

// invalid returns the error for bad input. Nothing was sent.
func invalid(op Op, field, problem string) *Error {
	return &Error{Op: op, Fate: Refused, Class: classValidation, Message: clean(field + ": " + problem)}
}

const (
	maxMessage = 200
	maxCode    = 64
)

var (
	pemText = regexp.MustCompile(`(?s)-----BEGIN.*?(-----END[^-]*-----|$)`)
	// A run this long is an encoding: words, names and serial numbers (40 digits) are shorter.
	// Text after a line break that ends in padding is the rest of the encoding.
	codedText = regexp.MustCompile(`[A-Za-z0-9+/_\-]{48,}={0,2}([\s\\nr]+[A-Za-z0-9+/]+={1,2})?`)
)

// clean makes a text of the gateway safe to log: one line, no PEM or long base64, at most
// maxMessage characters.
func clean(s string) string { return bound(s, maxMessage) }

// bound is clean with another limit in characters.
func bound(s string, limit int) string {
	// Cut first: a gateway may echo megabytes.
	if len(s) > 1<<16 {
		s = s[:1<<16]
	}
	s = strings.ToValidUTF8(s, "?")
	s = pemText.ReplaceAllString(s, "[removed]")
	s = codedText.ReplaceAllString(s, "[removed]")
	s = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	return string([]rune(s)[:limit-1]) + "…"
}
