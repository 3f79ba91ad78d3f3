package order

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

var (
	// ErrNotARecord says that bytes are not the record of an order.
	ErrNotARecord = errors.New("not a record of an order")
	// ErrNewerFormat says that a newer worker wrote the record. This worker must leave it alone
	// until it is closed, or until this worker is replaced.
	ErrNewerFormat = errors.New("the record has a newer format than this worker reads")
)

// Encode writes the record as a MessagePack map. It leaves out zero values and keeps the keys
// that a newer worker wrote.
func (r Record) Encode() ([]byte, error) {
	w := newWriter()
	w.number("format", Format)
	w.text("phase", string(r.Phase))
	w.text("kind", string(r.Kind))
	w.number("generation", int64(r.Generation))
	w.bytes("digest", r.Digest)
	w.number("origin", int64(r.Origin.Sequence))
	w.time("origin_time", r.Origin.Time)
	w.time("requested_at", r.RequestedAt)
	w.text("ca_id", r.CAID)
	w.text("profile_id", r.ProfileID)
	w.bytes("policy", r.PolicyDigest)
	w.number("validity", int64(r.Validity))
	w.text("owner", r.Owner)
	w.number("lease", int64(r.Lease))
	w.number("submissions", int64(r.Submissions))
	w.number("resubmissions", int64(r.Resubmissions))
	w.flag("possible_duplicate", r.PossibleDuplicate)
	w.time("submitted_at", r.SubmittedAt)
	w.text("tracking_id", r.TrackingID)
	w.time("deadline", r.Deadline)
	w.number("tries", int64(r.Tries))
	w.number("waited", int64(r.Waited))
	w.number("noes", int64(r.Noes))
	w.time("no_since", r.NoSince)
	w.text("outcome", string(r.Outcome))
	w.text("serial", r.Serial)
	if r.Cause != nil {
		w.nested("cause")(encodeCause(r.Cause))
	}
	if r.Request != nil {
		data, err := r.Request.encode()
		w.check(err)
		w.bytes("request", data)
	}
	if r.Conclusion != nil {
		w.nested("conclusion")(r.Conclusion.encode())
	}
	for _, key := range slices.Sorted(maps.Keys(r.unknown)) {
		w.nested(key)(r.unknown[key], nil)
	}
	return w.done()
}

// Decode reads a record of this or another format. It returns ErrNotARecord, or ErrNewerFormat
// with the fields that this worker knows.
func Decode(data []byte) (Record, error) {
	var r Record
	format := int64(0)
	err := eachKey(data, func(key string, dec *msgpack.Decoder) (err error) {
		switch key {
		case "format":
			format, err = dec.DecodeInt64()
		case "phase":
			r.Phase, err = text[Phase](dec)
		case "kind":
			r.Kind, err = text[entrustbus.Kind](dec)
		case "generation":
			r.Generation, err = dec.DecodeInt()
		case "digest":
			r.Digest, err = dec.DecodeBytes()
		case "origin":
			r.Origin.Sequence, err = dec.DecodeUint64()
		case "origin_time":
			r.Origin.Time, err = instant(dec)
		case "requested_at":
			r.RequestedAt, err = instant(dec)
		case "ca_id":
			r.CAID, err = dec.DecodeString()
		case "profile_id":
			r.ProfileID, err = dec.DecodeString()
		case "policy":
			r.PolicyDigest, err = dec.DecodeBytes()
		case "validity":
			r.Validity, err = duration(dec)
		case "owner":
			r.Owner, err = dec.DecodeString()
		case "lease":
			r.Lease, err = duration(dec)
		case "submissions":
			r.Submissions, err = dec.DecodeInt()
		case "resubmissions":
			r.Resubmissions, err = dec.DecodeInt()
		case "possible_duplicate":
			r.PossibleDuplicate, err = dec.DecodeBool()
		case "submitted_at":
			r.SubmittedAt, err = instant(dec)
		case "tracking_id":
			r.TrackingID, err = dec.DecodeString()
		case "deadline":
			r.Deadline, err = instant(dec)
		case "tries":
			r.Tries, err = dec.DecodeInt()
		case "waited":
			r.Waited, err = duration(dec)
		case "noes":
			r.Noes, err = dec.DecodeInt()
		case "no_since":
			r.NoSince, err = instant(dec)
		case "outcome":
			r.Outcome, err = text[entrustbus.Outcome](dec)
		case "serial":
			r.Serial, err = dec.DecodeString()
		case "cause":
			r.Cause, err = decodeCause(dec)
		case "request":
			var inner []byte
			if inner, err = dec.DecodeBytes(); err == nil {
				r.Request, err = decodeMessage(inner)
			}
		case "conclusion":
			r.Conclusion, err = decodeConclusion(dec)
		default:
			if r.unknown == nil {
				r.unknown = map[string]msgpack.RawMessage{}
			}
			r.unknown[key], err = dec.DecodeRaw()
		}
		return err
	})
	switch {
	case err != nil:
		return Record{}, fmt.Errorf("%w: %w", ErrNotARecord, err)
	case format > Format:
		return r, fmt.Errorf("%w: %d > %d", ErrNewerFormat, format, Format)
	case !slices.Contains(Phases(), r.Phase) || format < 1:
		return Record{}, fmt.Errorf("%w: format %d, phase %q", ErrNotARecord, format, r.Phase)
	case r.Phase == Concluded && (r.Conclusion == nil || r.Conclusion.Result == nil):
		return Record{}, fmt.Errorf("%w: phase concluded without a result", ErrNotARecord)
	case r.Phase == Indeterminate && r.Cause == nil:
		r.Cause = lost(workerDied)
	}
	return r, nil
}

func encodeCause(e *entrustbus.ResultError) ([]byte, error) {
	w := newWriter()
	w.text("class", string(e.Class))
	w.text("code", e.Code)
	w.text("message", e.Message)
	w.number("http_status", int64(e.HTTPStatus))
	return w.done()
}

func decodeCause(dec *msgpack.Decoder) (*entrustbus.ResultError, error) {
	e := new(entrustbus.ResultError)
	err := eachKeyOf(dec, func(key string, dec *msgpack.Decoder) (err error) {
		switch key {
		case "class":
			e.Class, err = text[entrustbus.Class](dec)
		case "code":
			e.Code, err = dec.DecodeString()
		case "message":
			e.Message, err = dec.DecodeString()
		case "http_status":
			e.HTTPStatus, err = dec.DecodeInt()
		default:
			err = dec.Skip()
		}
		return err
	})
	return e, err
}

func (c *Conclusion) encode() ([]byte, error) {
	w := newWriter()
	result, err := entrustbus.EncodeResult(entrustbus.EncodingMsgpack, c.Result)
	w.check(err)
	w.bytes("result", result)
	w.number("encoding", int64(c.Encoding))
	w.text("traceparent", c.TraceParent)
	w.text("tracestate", c.TraceState)
	w.text("reason", string(c.Reason))
	w.text("why", c.Why)
	return w.done()
}

func decodeConclusion(dec *msgpack.Decoder) (*Conclusion, error) {
	c := new(Conclusion)
	err := eachKeyOf(dec, func(key string, dec *msgpack.Decoder) (err error) {
		switch key {
		case "result":
			var data []byte
			if data, err = dec.DecodeBytes(); err == nil {
				c.Result, err = entrustbus.DecodeResult(entrustbus.EncodingMsgpack, data)
			}
		case "encoding":
			var n int
			n, err = dec.DecodeInt()
			c.Encoding = entrustbus.Encoding(n)
		case "traceparent":
			c.TraceParent, err = dec.DecodeString()
		case "tracestate":
			c.TraceState, err = dec.DecodeString()
		case "reason":
			c.Reason, err = text[Reason](dec)
		case "why":
			c.Why, err = dec.DecodeString()
		default:
			err = dec.Skip()
		}
		return err
	})
	return c, err
}

// writer writes one map, without zero values.
type writer struct {
	body bytes.Buffer
	enc  *msgpack.Encoder
	keys int
	err  error
}

func newWriter() *writer {
	w := new(writer)
	w.enc = msgpack.NewEncoder(&w.body)
	w.enc.UseCompactInts(true)
	return w
}

func (w *writer) check(err error) {
	if w.err == nil {
		w.err = err
	}
}

func (w *writer) key(key string) {
	w.keys++
	w.check(w.enc.EncodeString(key))
}

func (w *writer) text(key, value string) {
	if value != "" {
		w.key(key)
		w.check(w.enc.EncodeString(value))
	}
}

func (w *writer) number(key string, value int64) {
	if value != 0 {
		w.key(key)
		w.check(w.enc.EncodeInt(value))
	}
}

func (w *writer) flag(key string, value bool) {
	if value {
		w.key(key)
		w.check(w.enc.EncodeBool(true))
	}
}

func (w *writer) bytes(key string, value []byte) {
	if len(value) > 0 {
		w.key(key)
		w.check(w.enc.EncodeBytes(value))
	}
}

func (w *writer) time(key string, value time.Time) {
	if !value.IsZero() {
		w.key(key)
		w.check(w.enc.EncodeTime(value))
	}
}

// nested returns a function that writes an encoded value.
func (w *writer) nested(key string) func([]byte, error) {
	return func(data []byte, err error) {
		w.check(err)
		w.key(key)
		w.body.Write(data)
	}
}

func (w *writer) done() ([]byte, error) {
	if w.err != nil {
		return nil, w.err
	}
	var out bytes.Buffer
	out.Grow(w.body.Len() + 3)
	if err := msgpack.NewEncoder(&out).EncodeMapLen(w.keys); err != nil {
		return nil, err
	}
	out.Write(w.body.Bytes())
	return out.Bytes(), nil
}

// eachKey calls read for every key of a map. read decodes the value.
func eachKey(data []byte, read func(string, *msgpack.Decoder) error) error {
	r := bytes.NewReader(data)
	dec := msgpack.GetDecoder()
	defer msgpack.PutDecoder(dec)
	dec.Reset(r)
	if err := eachKeyOf(dec, read); err != nil {
		return err
	}
	if r.Len() > 0 {
		return fmt.Errorf("%d bytes after the map", r.Len())
	}
	return nil
}

func eachKeyOf(dec *msgpack.Decoder, read func(string, *msgpack.Decoder) error) error {
	n, err := dec.DecodeMapLen()
	for range max(n, 0) {
		if err != nil {
			return err
		}
		var key string
		if key, err = dec.DecodeString(); err == nil {
			if err = read(key, dec); err != nil {
				err = fmt.Errorf("%s: %w", key, err)
			}
		}
	}
	return err
}

func text[S ~string](dec *msgpack.Decoder) (S, error) {
	s, err := dec.DecodeString()
	return S(s), err
}

func instant(dec *msgpack.Decoder) (time.Time, error) {
	t, err := dec.DecodeTime()
	return t.UTC(), err
}

func duration(dec *msgpack.Decoder) (time.Duration, error) {
	n, err := dec.DecodeInt64()
	return time.Duration(n), err
}
