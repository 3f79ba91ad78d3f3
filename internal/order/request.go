package order

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/textproto"
	"strconv"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// MaxDeaths is how often a request may end in a dead letter before its replay needs force.
const MaxDeaths = 5

// HeaderDeaths counts how often a request became a dead letter. A replay carries it on.
const HeaderDeaths = "Entrust-Deaths"

// HeaderRepeats says that an operator's message repeats a producer's request. It names that
// request's subject, and the producer's signature must be valid for it. It counts on an
// operator's subject only.
const HeaderRepeats = "Entrust-Repeats"

// Request is a request as it was read from the bus. A part that could not be read is zero, and
// Problem says why.
type Request struct {
	Key        Key // ID is "" when no id could be read
	Kind       entrustbus.Kind
	Generation int  // 0 unless an operator gave it
	Operator   bool // it came on an operator's subject
	Body       entrustbus.Request
	Encoding   entrustbus.Encoding
	// Digest is entrustbus.Digest, or the SHA-256 of the bytes when they are not a request.
	// Bytes is always that SHA-256.
	Digest, Bytes []byte
	Deaths        int // earlier ends in a dead letter
	Problem       error

	Ref        Ref // of the stored message; zero when the request came with a wake-up
	Deliveries int // this one included
	Raw        *Message

	// noGeneration is reported after the id was read, so that the answer goes to that order.
	noGeneration error
}

// MaxHeaders is the most bytes of headers in one JetStream message, including the status line
// and the empty line at the end. The server refuses more for ever (nats-server 2.15, error
// 10097).
const MaxHeaders = 1<<16 - 1

// Limits bound a request.
type Limits struct {
	MaxWait time.Duration // longest poll_max_wait_seconds
	Size    int64         // most bytes of a message, of headers, request and result together; 0 for no limit
	// Verifiable refuses certificate requests whose signature this worker cannot verify.
	Verifiable bool
}

// Read reads a request. It never fails: Problem says what is wrong. Problem is a *FieldError
// when the request breaks the contract.
func Read(subjects entrustbus.Subjects, raw *Message, limits Limits) Request {
	q := Unread(subjects, raw)
	switch {
	case q.Problem == nil:
		q.Problem = q.readBody(limits)
	case q.Kind != "":
		_ = q.readBody(limits) // Content-Type is wrong: read the id, for the answer
		q.Digest = q.Bytes
	}
	return q
}

// Unread is Read without the body, which may be what crashes workers. The order's id comes from
// the header, if present.
func Unread(subjects entrustbus.Subjects, raw *Message) Request {
	if raw == nil {
		raw = new(Message)
	}
	q := Request{Raw: raw, Deliveries: 1}
	sum := sha256.Sum256(raw.Body)
	q.Bytes, q.Digest = sum[:], sum[:]
	// Absent means 0. A publisher may send any number.
	n, _ := strconv.Atoi(raw.Get(HeaderDeaths))
	q.Deaths = min(max(n, 0), MaxDeaths)
	q.Problem = q.address(subjects)
	return q
}

// address reads subject and headers.
func (q *Request) address(subjects entrustbus.Subjects) error {
	in, err := subjects.ParseIncoming(q.Raw.Subject)
	q.Key.Producer, q.Kind, q.Operator = in.Producer, in.Kind, in.Operator
	if err != nil {
		return err
	}
	if id := q.Raw.Get(entrustbus.HeaderOrderID); entrustbus.ValidToken(id) {
		q.Key.ID = id
	}
	if q.Operator {
		q.Generation, q.noGeneration = generation(q.Raw)
	}
	q.Encoding, err = entrustbus.EncodingOf(q.Raw.Get(entrustbus.HeaderContentType), q.Raw.Body)
	return err
}

func (q *Request) readBody(limits Limits) error {
	body, err := entrustbus.DecodeRequest(q.Kind, q.Encoding, q.Raw.Body)
	if body != nil && entrustbus.ValidToken(body.OrderID()) {
		q.Body, q.Key.ID = body, body.OrderID()
	}
	switch {
	case err != nil:
		return err
	case q.noGeneration != nil:
		return q.noGeneration
	}
	digest, err := entrustbus.Digest(body)
	if err != nil {
		return err
	}
	q.Digest = digest[:]
	return q.bounds(limits)
}

// generation reads the replay generation of an operator's message, 0 for none.
func generation(raw *Message) (int, error) {
	text := raw.Get(entrustbus.HeaderReplay)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > 1<<20 {
		return 0, &entrustbus.FieldError{Field: entrustbus.HeaderReplay, Problem: "is not a generation number"}
	}
	return n, nil
}

// bounds refuses a request that the configuration forbids, or that the bus can deliver but not
// keep. The latter would be submitted, and then could not be parked.
func (q *Request) bounds(limits Limits) error {
	if limits.Verifiable {
		if err := verifiable(q.Body); err != nil {
			return err
		}
	}
	if wait, limit := q.maxWait(), limits.MaxWait; limit > 0 && wait > limit {
		return &entrustbus.FieldError{
			Field: "poll_max_wait_seconds", Problem: fmt.Sprintf("exceeds what this worker allows: %d > %d", wait/time.Second, limit/time.Second),
			Fix: "ask for less, or have the operator raise poll.max_wait_limit",
		}
	}
	// A wake-up and a record add to the request. A wake-up prefixes the names of its headers,
	// and holds those of encoding and trace twice.
	const extra = 4 << 10
	headers := int64(extra)
	for name, values := range q.Raw.Header {
		for _, v := range values {
			size := int64(len(name) + len(v) + 32)
			switch textproto.CanonicalMIMEHeaderKey(name) {
			case "Content-Type", "Traceparent", "Tracestate":
				size *= 2
			}
			headers += size
		}
	}
	if limits.Size > 0 && headers > MaxHeaders {
		return &entrustbus.FieldError{
			Field: "headers", Problem: fmt.Sprintf("are too large to be stored with a wake-up: about %d > %d bytes", headers, MaxHeaders),
			Fix: "send fewer or shorter headers",
		}
	}
	size := int64(len(q.Raw.Body)) + headers + q.answer()
	if limits.Size > 0 && size > limits.Size {
		return &entrustbus.FieldError{
			Field: "body", Problem: fmt.Sprintf("is too large to be stored with its headers and its result: %d > %d bytes", size, limits.Size),
			Fix: "leave out unknown keys, or shorten headers and labels",
		}
	}
	return nil
}

// answer is how many bytes of the result come from the request: its labels, as JSON may write
// them, and the certificate of its names. A record keeps the result beside the request.
func (q *Request) answer() int64 {
	size := int64(0)
	for k, v := range q.Body.LabelMap() {
		size += escaped(k) + escaped(v) + 6
	}
	if q.Kind == entrustbus.KindIssue || q.Kind == entrustbus.KindTrack {
		size += certificate
	}
	return size
}

// certificate is the room for a certificate in a result, in bytes: most certificates are below
// 4 KiB.
const certificate = 8 << 10

// escaped is the largest size of text in JSON: an escaped byte takes six.
func escaped(text string) int64 {
	n := int64(len(text))
	for _, b := range []byte(text) {
		if b < ' ' || b == '"' || b == '\\' || b == '<' || b == '>' || b == '&' {
			n += 5
		}
	}
	return n
}

// maxWait is how long the request may wait for approval, 0 when it does not say.
func (q *Request) maxWait() time.Duration {
	switch b := q.Body.(type) {
	case *entrustbus.Issue:
		return time.Duration(b.PollMaxWaitSeconds) * time.Second
	case *entrustbus.Track:
		return time.Duration(b.PollMaxWaitSeconds) * time.Second
	}
	return 0
}

// CA returns the CA and profile that the request names, "" for none.
func (q *Request) CA() (ca, profile string) {
	switch b := q.Body.(type) {
	case *entrustbus.Issue:
		return b.CAID, b.ProfileID
	case *entrustbus.Track:
		return b.CAID, ""
	case *entrustbus.Revoke:
		return b.CAID, ""
	}
	return "", ""
}

// undecodable reports whether the bytes are not a request, as opposed to a request that breaks
// the contract.
func (q *Request) undecodable() bool {
	var field *entrustbus.FieldError
	return q.Kind == "" || errors.As(q.Problem, &field) && field.Undecodable
}

// of reports whether the request belongs to the record. The record's origin message always
// does, whatever digest this worker computes. A record knows a request that could not be
// decoded by its bytes.
func (q *Request) of(r Record) bool {
	if r.Kind != q.Kind {
		return false
	}
	return r.Origin.names(q.Ref) || bytes.Equal(r.Digest, q.Digest) || bytes.Equal(r.Digest, q.Bytes)
}
