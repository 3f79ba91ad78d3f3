package entrustbus

import (
	"slices"
	"time"
)

// Order is what a producer may read of the ledger's record of one of its orders.
type Order struct {
	// Phase is the phase of the order. Later versions may add phases.
	Phase Phase `json:"phase"`
	// Kind is the kind of the request.
	Kind Kind `json:"kind"`
	// TrackingID is the gateway's tracking id of the order; empty before the gateway gave one.
	TrackingID string `json:"tracking_id,omitempty"`
	// Deadline is when an awaiting order expires; zero in other phases.
	Deadline time.Time `json:"deadline,omitzero"`
	// Outcome is how a closed order ended; empty before.
	Outcome Outcome `json:"outcome,omitempty"`
	// Replay is the generation, as in Result.
	Replay int `json:"replay"`
	// UpdatedAt is when NATS stored the record, by the server's clock. A Client sets it; DecodeOrder leaves it zero.
	UpdatedAt time.Time `json:"updated_at,omitzero"`
	// Digest is Digest of the request, or the SHA-256 of its body if workers could not read it. It shows whether the id was
	// used for another request. Zero in a record without a digest.
	Digest [32]byte `json:"-"`
}

// Phase is the phase of an order.
type Phase string

// Phases of an Order.
const (
	PhaseSubmitting    Phase = "submitting"    // a call to the gateway may be under way
	PhaseUnaccepted    Phase = "unaccepted"    // the gateway accepted no try; a worker tries again
	PhaseIndeterminate Phase = "indeterminate" // the gateway may have accepted a call; a worker looks it up
	PhaseAwaiting      Phase = "awaiting"      // the gateway has the order; a worker polls it
	PhaseConcluded     Phase = "concluded"     // the outcome is known, and not all of it is published
	PhaseClosed        Phase = "closed"        // the result is published
)

// orderKeys are what DecodeOrder reads of a record.
var orderKeys = []string{"phase", "kind", "tracking_id", "deadline", "outcome", "generation", "digest"}

// DecodeOrder reads a record of the ledger, a MessagePack map. It reads the keys of Order and ignores the rest.
// The error is a *FieldError.
func DecodeOrder(data []byte) (*Order, error) {
	f, err := readDocument(EncodingMsgpack, data, func(key string) bool { return slices.Contains(orderKeys, key) })
	if err != nil {
		return nil, err
	}
	o := &Order{
		Phase:      Phase(f.text("phase")),
		Kind:       Kind(f.text("kind")),
		TrackingID: f.text("tracking_id"),
		Deadline:   f.time("deadline"),
		Outcome:    Outcome(f.text("outcome")),
		Replay:     f.count("generation"),
	}
	// Not f.bytes: a record of another length, or of none, is one to compare with nothing.
	if v := f.fields["digest"]; v.kind == kindBytes && len(v.text) == len(o.Digest) {
		copy(o.Digest[:], v.text)
	}
	if err := f.failure(); err != nil {
		return nil, err
	}
	if o.Phase == "" {
		return nil, errMissing("phase")
	}
	return o, nil
}
