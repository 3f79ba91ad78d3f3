package audit

import (
	"encoding/json"
	"fmt"
	"time"
)

// Version is the version of records that this package writes.
const Version = 1

// Decisions that are not about one order. Those of an order are its acts.
const (
	DecisionHead        = "head"
	DecisionDenied      = "denied"
	DecisionPolicy      = "policy changed"
	DecisionCredentials = "credentials changed"
	DecisionBlock       = "key blocked"
	DecisionUnblock     = "key unblocked"
	DecisionSuspended   = "calls suspended"
	DecisionResumed     = "calls resumed"
)

// Record is one decision. Its chain fills in the first four fields. It holds no
// certificate, no request and no key.
type Record struct {
	Version  int    `json:"v"`
	Chain    string `json:"chain"`
	Number   uint64 `json:"n"`                  // from 1
	Previous string `json:"previous,omitempty"` // SHA-256 of the body before it, hexadecimal
	// Late are earlier numbers of the chain that were stored out of order.
	Late []uint64 `json:"late,omitempty"`

	Time     time.Time `json:"time"` // the server's, as the worker measured it
	Decision string    `json:"decision"`

	Producer   string `json:"producer,omitempty"`
	Order      string `json:"order,omitempty"`
	Kind       string `json:"kind,omitempty"`
	Generation int    `json:"replay,omitempty"`
	Operator   string `json:"operator,omitempty"` // as the operator's verb gave it
	Reason     string `json:"reason,omitempty"`
	KeyID      string `json:"key_id,omitempty"`
	Digest     string `json:"digest,omitempty"` // of the request, hexadecimal

	Outcome           string    `json:"outcome,omitempty"`
	How               string    `json:"how,omitempty"` // adopted, held or completed
	Serial            string    `json:"serial,omitempty"`
	CAID              string    `json:"ca_id,omitempty"`
	ProfileID         string    `json:"profile_id,omitempty"`
	TrackingID        string    `json:"tracking_id,omitempty"`
	Submissions       int       `json:"submissions,omitempty"`
	SubmittedAt       time.Time `json:"submitted_at,omitzero"`
	PossibleDuplicate bool      `json:"possible_duplicate,omitempty"`
	Code              string    `json:"code,omitempty"`
	Rule              string    `json:"rule,omitempty"`   // why it was denied, with rule and value
	Policy            string    `json:"policy,omitempty"` // digest, as logs name it
	Is                string    `json:"is,omitempty"`     // what a change brought, and Was what it replaced
	Was               string    `json:"was,omitempty"`

	// Count is how many denials a sum stands for, since Since; 0 for a record of one.
	Count int       `json:"count,omitempty"`
	Since time.Time `json:"since,omitzero"`

	Head *Head `json:"head,omitempty"`
}

// Head is what the first and the last record of a chain, and one a day, hold beside.
type Head struct {
	Of string `json:"of"` // start, day or stop
	// Sequence and Hash are those of the last message of the stream when the head was
	// made; 0 and "" where it held none.
	Sequence uint64 `json:"sequence,omitempty"`
	Hash     string `json:"hash,omitempty"`
	// KeyID names the key that signed it, "" where none did. The signature is in the
	// header HeaderSignature.
	KeyID string `json:"key_id,omitempty"`
}

// Words of Head.Of.
const (
	HeadStart = "start"
	HeadDay   = "day"
	HeadStop  = "stop"
)

// Headers of a record's message.
const (
	HeaderSignature = "Entrust-Audit-Signature" // of a head: ed25519 over its body, base64
	HeaderFirst     = "Entrust-Audit-First"     // of a repetition: sequence of the first record of the decision
)

// Decode reads the body of a record. It ignores keys that it does not know.
func Decode(body []byte) (*Record, error) {
	r := new(Record)
	if err := json.Unmarshal(body, r); err != nil {
		return nil, fmt.Errorf("decoding an audit record: %w", err)
	}
	switch {
	case r.Version > Version:
		return nil, fmt.Errorf("decoding an audit record: unsupported version %d (supported: %d)", r.Version, Version)
	case r.Version < 1 || r.Chain == "" || r.Number == 0:
		return nil, fmt.Errorf("decoding an audit record: version, chain or number is missing")
	}
	return r, nil
}
