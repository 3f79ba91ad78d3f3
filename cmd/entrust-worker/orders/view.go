package orders

import (
	"encoding/hex"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/order"
)

// view is what the verbs show of an order.
type view struct {
	Producer          string             `json:"producer"`
	ID                string             `json:"id"`
	Kind              entrustbus.Kind    `json:"kind"`
	Phase             order.Phase        `json:"phase"`
	Outcome           entrustbus.Outcome `json:"outcome,omitempty"`
	Replay            int                `json:"replay"`
	RequestedAt       time.Time          `json:"requested_at,omitzero"`
	SubmittedAt       time.Time          `json:"submitted_at,omitzero"`
	UpdatedAt         time.Time          `json:"updated_at,omitzero"`
	Deadline          time.Time          `json:"deadline,omitzero"`
	NextWakeup        time.Time          `json:"next_wakeup,omitzero"`
	Polls             int                `json:"polls,omitempty"`
	TrackingID        string             `json:"tracking_id,omitempty"`
	CAID              string             `json:"ca_id,omitempty"`
	ProfileID         string             `json:"profile_id,omitempty"`
	Serial            string             `json:"serial,omitempty"`
	Submissions       int                `json:"submissions"`
	PossibleDuplicate bool               `json:"possible_duplicate"`
	Tries             int                `json:"tries,omitempty"`
	Cause             string             `json:"cause,omitempty"`
	Owner             string             `json:"owner,omitempty"`
	LeaseUntil        time.Time          `json:"lease_until,omitzero"`
	// Policy names the policy that was asked last, as logs and the verb policy name it.
	Policy string `json:"policy,omitempty"`

	turn bool // it waits for its turn, and no call was made
}

func newView(key order.Key, r order.Stored) *view {
	o := &view{
		Producer: key.Producer, ID: key.ID, Kind: r.Kind, Phase: r.Phase, Outcome: r.Outcome, Replay: r.Generation,
		RequestedAt: r.RequestedAt, SubmittedAt: r.SubmittedAt, UpdatedAt: r.At,
		Deadline: r.Deadline, TrackingID: r.TrackingID, CAID: r.CAID, ProfileID: r.ProfileID, Serial: r.Serial,
		Submissions: r.Submissions, PossibleDuplicate: r.PossibleDuplicate, Tries: r.Tries, Owner: r.Owner,
	}
	if r.Cause != nil {
		o.Cause, o.turn = r.Cause.Message, r.Cause.Code == order.CodeQuota
	}
	o.Policy = hex.EncodeToString(r.PolicyDigest[:len(r.PolicyDigest)/2])
	if r.Conclusion != nil {
		o.Outcome = r.Conclusion.Result.Outcome
	}
	if r.Lease > 0 {
		o.LeaseUntil = r.At.Add(r.Lease)
	}
	return o
}

// meaning says in one line what a phase means for the order, "" where the other fields
// say it.
func (o *view) meaning() string {
	switch o.Phase {
	case order.Submitting:
		return "a call to the gateway may be under way; after the lease a worker finds out what became of it"
	case order.Unaccepted:
		if o.turn {
			return "waits for its turn: the producer's requests a minute are used up"
		}
		return "the gateway did not accept it; a worker tries again"
	case order.Indeterminate:
		if o.Kind == entrustbus.KindCancel {
			return "waits for the order that it cancels"
		}
		return "the gateway's answer was lost; a worker finds out what became of it"
	case order.Concluded:
		return "the outcome is known; a worker publishes it"
	}
	if o.Phase.Waits() && o.NextWakeup.IsZero() {
		return "due now, or without a wake-up until the watchdog schedules one"
	}
	return ""
}
