package orders

import (
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
)

// order is what the verbs show of an order.
type order struct {
	Producer          string             `json:"producer"`
	ID                string             `json:"id"`
	Kind              entrustbus.Kind    `json:"kind"`
	State             ledger.State       `json:"state"`
	Outcome           entrustbus.Outcome `json:"outcome,omitempty"`
	Replay            int                `json:"replay"`
	RequestedAt       time.Time          `json:"requested_at,omitzero"`
	SubmittedAt       time.Time          `json:"submitted_at,omitzero"`
	UpdatedAt         time.Time          `json:"updated_at,omitzero"`
	Deadline          time.Time          `json:"deadline,omitzero"`
	NextPoll          time.Time          `json:"next_poll,omitzero"`
	Polls             int                `json:"polls,omitempty"`
	TrackingID        string             `json:"tracking_id,omitempty"`
	CAID              string             `json:"ca_id,omitempty"`
	Serial            string             `json:"serial,omitempty"`
	Submissions       int                `json:"submissions"`
	PossibleDuplicate bool               `json:"possible_duplicate"`
	// Posting: a call that may create something is under way, or its end was not seen.
	Posting bool      `json:"posting,omitempty"`
	Worker  string    `json:"worker,omitempty"`
	Lease   time.Time `json:"lease,omitzero"`
}

func newOrder(r *ledger.Record) *order {
	o := &order{
		Producer: r.Key().Producer, ID: r.Key().ID, Kind: r.Kind, State: r.State, Outcome: r.Outcome, Replay: r.Replay,
		RequestedAt: r.RequestedAt, SubmittedAt: r.SubmittedAt, UpdatedAt: r.UpdatedAt,
		TrackingID: r.TrackingID, CAID: r.CAID, Serial: r.Serial,
		Submissions: r.Submissions, PossibleDuplicate: r.PossibleDuplicate,
		Posting: r.Posting, Worker: r.Worker, Lease: r.Lease,
	}
	if r.State == ledger.Parked {
		o.Deadline = r.Deadline
	}
	return o
}
