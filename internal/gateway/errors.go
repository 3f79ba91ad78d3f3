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

// Op is one of the gateway's operations, as it stands in Error.Op.
type Op string

// The operations.
const (
	OpEnroll Op = "enroll"
	OpPoll   Op = "poll"
	OpRevoke Op = "revoke"
	OpFind   Op = "find"
	OpProbe  Op = "probe"
)

// Fate is what became of a request that brought no usable answer, seen from what
// the caller does next. The zero value is no fate: nothing went wrong.
type Fate int

const (
	// Refused: the gateway said no to this request, for good.
	Refused Fate = iota + 1
	// NotAccepted: provably not accepted; the same request may be sent again.
	NotAccepted
	// Throttled: not accepted, too many requests; RetryAfter says when to come back.
	Throttled
	// Unauthorized: not accepted, the gateway does not know the client, or the
	// client's key pair cannot be read. It is no fault of the request.
	Unauthorized
	// Unknown: the gateway may have accepted it. Only a poll, a look-up, a probe or
	// a revocation may simply be sent again.
	Unknown
	// Unreadable: the gateway accepted it, or says so, in words that cannot be
	// understood. Of a look-up: asking again will not tell either. Of a poll also: the
	// answer may not be the gateway's own.
	Unreadable
	// NotFound: the gateway knows no such order, and it had time to learn of it.
	NotFound
)

// String returns the fate as it reads in an error.
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

// The classes of errors, as they stand in the results on the bus.
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

// ErrNoLookup says that the gateway's dialect has no way to look up what was
// issued, or that the dialect is not known yet.
var ErrNoLookup = errors.New("gateway: the dialect has no look-up of issued certificates")

// Error is an answer that was not wanted, or none. Its text and fields are safe to
// log and to publish: one line, bounded, without details or body of the answer.
type Error struct {
	// Op is the operation that failed.
	Op Op
	// Fate is what the caller does next about it.
	Fate Fate
	// Class is the error's class on the bus: timeout, auth, rate_limited,
	// validation, upstream_5xx, upstream_4xx, network, policy or other.
	Class string
	// Code is the gateway's own code ("cagw-4018"), at most 64 characters.
	Code string
	// Message is one line of at most 200 characters: the gateway's message, or what
	// happened on the way to it.
	Message string
	// HTTPStatus is 0 where there was no answer.
	HTTPStatus int
	// RetryAfter is how long the gateway asks to be left alone, floored and capped;
	// 0 where it says nothing.
	RetryAfter time.Duration
	// Own says that the answer is in the gateway's own words: its error body, in a shape
	// that was recorded of it. Without it a proxy may have answered, or nobody.
	Own bool
	// Written says of an enrollment that its whole request was written, or may have been,
	// once: it counts as a submission, whatever became of it.
	Written bool
	// TrackingID and Serial are what an answer to an enrollment or a poll told beside what
	// could not be read; "" where it told nothing. Serial is lower-case hexadecimal.
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

// Unwrap returns what went wrong on the way to the gateway, so that errors.Is finds
// context.Canceled; nil where the gateway answered. Its text is not bounded: log
// the Error, not its cause.
func (e *Error) Unwrap() error { return e.cause }

// FateOf returns the fate of the first *Error in err's chain: 0 for nil, Unknown for
// an error from elsewhere, since nothing is proved by it.
func FateOf(err error) Fate {
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Fate
	}
	return Unknown
}

// invalid is bad input, found before anything was sent.
func invalid(op Op, field, problem string) *Error {
	return &Error{Op: op, Fate: Refused, Class: classValidation, Message: clean(field + ": " + problem)}
}

const (
	maxMessage = 200
	maxCode    = 64
)

var (
	pemText = regexp.MustCompile(`(?s)-----BEGIN.*?(-----END[^-]*-----|$)`)
	// A run this long is no word, name or serial number (40 digits) but an encoding.
	// What follows a line break and ends in padding is the rest of it.
	codedText = regexp.MustCompile(`[A-Za-z0-9+/_\-]{48,}={0,2}([\s\\nr]+[A-Za-z0-9+/]+={1,2})?`)
)

// clean makes a foreign text fit for a log: one line, no encoded matter, bounded.
func clean(s string) string { return bound(s, maxMessage) }

func bound(s string, limit int) string {
	// What is cut off is never looked at: a gateway may echo megabytes.
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
