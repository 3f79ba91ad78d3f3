package entrustbus

import (
	"slices"
	"time"
)

// Order is what a producer may read of the ledger's record of one of its orders.
type Order struct {
	// State is "open" while a worker has the order in hand, "parked" while it waits for approval, "closed" when its
	// result is out. There may be others later.
	State string `json:"state"`
	// Kind is the kind of the request.
	Kind Kind `json:"kind"`
	// TrackingID is the gateway's name of the order, once it gave one.
	TrackingID string `json:"tracking_id,omitempty"`
	// Deadline is when a parked order expires; zero before it is parked.
	Deadline time.Time `json:"deadline,omitzero"`
	// Outcome is how a closed order ended; empty before.
	Outcome Outcome `json:"outcome,omitempty"`
	// Replay is the generation, as in Result.
	Replay int `json:"replay"`
	// UpdatedAt is when the record was written.
	UpdatedAt time.Time `json:"updated_at,omitzero"`
	// Digest is Digest of the request, or the SHA-256 of its body where workers could not read it: it tells whether the
	// id was used for another request. Zero in a record without one.
	Digest [32]byte `json:"-"`
}

// States of an Order.
const (
	StateOpen   = "open"
	StateParked = "parked"
	StateClosed = "closed"
)

// orderKeys are what DecodeOrder reads of a record.
var orderKeys = []string{"state", "kind", "tracking_id", "deadline", "outcome", "replay", "updated_at", "digest"}

// DecodeOrder reads a record of the ledger, a MessagePack map of which it takes the keys of Order and ignores the rest.
// The error is a *FieldError.
func DecodeOrder(data []byte) (*Order, error) {
	f, err := readDocument(EncodingMsgpack, data, func(key string) bool { return slices.Contains(orderKeys, key) })
	if err != nil {
		return nil, err
	}
	o := &Order{
		State:      f.text("state"),
		Kind:       Kind(f.text("kind")),
		TrackingID: f.text("tracking_id"),
		Deadline:   f.time("deadline"),
		Outcome:    Outcome(f.text("outcome")),
		Replay:     f.count("replay"),
		UpdatedAt:  f.time("updated_at"),
	}
	// Not f.bytes: a record of another length, or of none, is one to compare with nothing.
	if v := f.fields["digest"]; v.kind == kindBytes && len(v.text) == len(o.Digest) {
		copy(o.Digest[:], v.text)
	}
	if err := f.failure(); err != nil {
		return nil, err
	}
	if o.State == "" {
		return nil, errMissing("state")
	}
	return o, nil
}
