package audit

import (
	"encoding/json"
	"fmt"
	"time"
)

// Version is the record version that this package writes.
const Version = 1

// Decisions that concern no single order. The decisions about an order are the acts of
// internal/order.
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

// Record is one decision. Chain.Append fills in the first five fields. A record holds no
// certificate, no request and no key.
type Record struct {
	Version  int    `json:"v"`
	Chain    string `json:"chain"`
	Number   uint64 `json:"n"`                  // from 1
	Previous string `json:"previous,omitempty"` // SHA-256 of the body before it, hexadecimal
	// Late lists earlier numbers of the chain that were stored out of order.
	Late []uint64 `json:"late,omitempty"`

	Time     time.Time `json:"time"` // server time, as the worker measured it
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
	Rule              string    `json:"rule,omitempty"`   // rule and value that denied the request
	Policy            string    `json:"policy,omitempty"` // digest of the policy, as in logs
	Is                string    `json:"is,omitempty"`     // new value of a change; Was is the value before it
	Was               string    `json:"was,omitempty"`

	// Count is the number of denials since Since that this record sums up; 0 for a single
	// decision.
	Count int       `json:"count,omitempty"`
	Since time.Time `json:"since,omitzero"`

	Head *Head `json:"head,omitempty"`
}

// Head is the extra part of the first and the last record of a chain, and of one record a
// day.
type Head struct {
	Of string `json:"of"` // start, day or stop
	// Sequence and Hash name the last message of the stream at the time of the head; 0
	// and "" if the stream was empty.
	Sequence uint64 `json:"sequence,omitempty"`
	Hash     string `json:"hash,omitempty"`
	// KeyID names the key that signed the head, "" if unsigned. The signature is in the
	// header HeaderSignature.
	KeyID string `json:"key_id,omitempty"`
}

// Values of Head.Of.
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

// Decode reads the body of a record. It ignores unknown keys.
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
