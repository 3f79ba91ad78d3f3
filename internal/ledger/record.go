// Package ledger keeps one small record for each order in a key-value bucket:
// the single place that says what became of an order, written by
// compare-and-set only.
//
// A record moves open → parked → closed; a replay opens a closed record again.
// The record decides, and every message on the bus is only a reason to look at
// it: a request that finds its record closed is a duplicate, a wake-up that
// finds its order closed is stale.
package ledger

import (
	"fmt"
	"net/textproto"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// State is where an order stands.
type State string

// The states of an order.
const (
	Open   State = "open"   // a worker has begun; see Record.Posting for whether the gateway may know
	Parked State = "parked" // a slot wakes it up: it waits for approval, or was set aside; see Record.Awaits
	Closed State = "closed" // its result is published
)

// Key names an order. Both parts are one subject token each.
type Key struct{ Producer, ID string }

// String returns the key as the bucket spells it.
func (k Key) String() string { return k.Producer + "." + k.ID }

// ParseKey splits a bucket key.
func ParseKey(s string) (Key, error) {
	producer, id, ok := strings.Cut(s, ".")
	if !ok || !entrustbus.ValidToken(producer) || !entrustbus.ValidToken(id) {
		return Key{}, fmt.Errorf("%q is not <producer>.<id>", s)
	}
	return Key{producer, id}, nil
}

// Record is what the ledger knows of one order. Times are UTC. A Record is not
// safe for concurrent use.
type Record struct {
	State State           `msgpack:"state"`
	Kind  entrustbus.Kind `msgpack:"kind"`
	// Digest is entrustbus.Digest of the request, or the SHA-256 of its bytes
	// where it could not be decoded.
	Digest []byte `msgpack:"digest"`
	// Replay is the generation in force, 0 for the request itself.
	Replay int `msgpack:"replay,omitempty"`
	// Nonce is fresh with each write, and kept while the fate of one is unknown.
	// It lets a writer whose acknowledgement was lost recognise its own write.
	Nonce string `msgpack:"nonce"`

	// Worker holds an open order until Lease ends. Both are empty otherwise.
	Worker string    `msgpack:"worker,omitempty"`
	Lease  time.Time `msgpack:"lease,omitempty"`
	// Posting is set before a call that may create something at the gateway,
	// and cleared only when that call provably did not. A record left open with
	// Posting set is an order of unknown fate.
	Posting bool `msgpack:"posting,omitempty"`
	// Submissions counts the enrollment calls that may have reached the gateway.
	Submissions       int  `msgpack:"submissions,omitempty"`
	PossibleDuplicate bool `msgpack:"possible_duplicate,omitempty"`
	// Tries counts how often the order was set aside, and last polls that were not
	// answered: each makes the next wait longer.
	Tries int `msgpack:"tries,omitempty"`
	// Unknowns counts those of a revocation whose answer told nothing.
	Unknowns int `msgpack:"unknowns,omitempty"`
	// Message is the sequence of the request that is worked on, in its stream: the
	// same id may come on another message, with another content.
	Message uint64 `msgpack:"message,omitempty"`

	RequestedAt time.Time `msgpack:"requested_at"`
	SubmittedAt time.Time `msgpack:"submitted_at,omitempty"`
	UpdatedAt   time.Time `msgpack:"updated_at"`
	Deadline    time.Time `msgpack:"deadline,omitempty"`
	TrackingID  string    `msgpack:"tracking_id,omitempty"`
	// CAID is the CA that the request names, kept so that a poll need not decode the
	// request. Empty: the worker's configured one.
	CAID string `msgpack:"ca_id,omitempty"`

	// Request is the request as it came, kept from the first wait to the end: with
	// it the ledger alone can park the order again, and a cancellation can end it.
	Request *Request `msgpack:"request,omitempty"`
	// FateCode and FateWhy say why the fate of a submission is unknown, while the
	// order waits to be looked up. Both are empty where a worker died over it.
	FateCode string `msgpack:"fate_code,omitempty"`
	FateWhy  string `msgpack:"fate_why,omitempty"`
	// Answer is an encoded result that could not be published yet. It is kept
	// so that an answer of the gateway survives a full result stream.
	Answer []byte `msgpack:"answer,omitempty"`

	Outcome entrustbus.Outcome `msgpack:"outcome,omitempty"`
	Serial  string             `msgpack:"serial,omitempty"`

	key       Key
	revision  uint64
	unsettled bool // the last write of this record was sent, and its fate is unknown
}

// Key returns the order the record belongs to.
func (r *Record) Key() Key { return r.key }

// Revision returns the sequence of the stored record, 0 before the first write.
func (r *Record) Revision() uint64 { return r.revision }

// LeaseLive reports whether another worker may still be at the order.
func (r *Record) LeaseLive(now time.Time) bool { return r.State == Open && now.Before(r.Lease) }

// Awaits reports whether the gateway has the order and is to be asked for it. A
// parked order that does not was set aside: before it was taken, or, with
// Posting set, until it can be looked up.
func (r *Record) Awaits() bool { return r.State == Parked && r.TrackingID != "" }

// Slotted reports whether nothing but a slot brings the order back: the message
// that asked for it is gone.
func (r *Record) Slotted() bool {
	return r.State == Parked || r.State == Open && r.Request != nil
}

// Doubtful reports whether another submission of a closed order may be a second one
// at the gateway: nobody knows its fate, or it failed although the gateway took it,
// as with a wrong certificate.
func (r *Record) Doubtful() bool {
	return r.Outcome == entrustbus.OutcomeUnconfirmed ||
		(r.Outcome == entrustbus.OutcomeFailed && r.Kind == entrustbus.KindIssue && (r.TrackingID != "" || r.Serial != ""))
}

// Request is a request as it was published.
type Request struct {
	Subject string              `msgpack:"subject"`
	Header  map[string][]string `msgpack:"header,omitempty"`
	Body    []byte              `msgpack:"body"`
}

// EncodeMsgpack writes the request as bytes within its record. Producers read records
// too, and to them a string that is not UTF-8 is no MessagePack; the headers of a
// request may hold anything.
func (r *Request) EncodeMsgpack(enc *msgpack.Encoder) error {
	type plain Request
	data, err := msgpack.Marshal((*plain)(r))
	if err != nil {
		return err
	}
	return enc.EncodeBytes(data)
}

// DecodeMsgpack reads what EncodeMsgpack wrote.
func (r *Request) DecodeMsgpack(dec *msgpack.Decoder) error {
	type plain Request
	data, err := dec.DecodeBytes()
	if err != nil {
		return err
	}
	return msgpack.Unmarshal(data, (*plain)(r))
}

// Get returns the first value of a header, or "".
func (r *Request) Get(header string) string {
	if v := nats.Header(r.Header).Values(header); len(v) > 0 {
		return v[0]
	}
	// A client of another language may have canonicalised the name.
	if v := r.Header[textproto.CanonicalMIMEHeaderKey(header)]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// Decode reads a stored record.
func Decode(key Key, revision uint64, data []byte) (*Record, error) {
	r := new(Record)
	if err := msgpack.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("%w: decoding that of %s: %w", ErrNotARecord, key, err)
	}
	r.key, r.revision = key, revision
	return r, nil
}
