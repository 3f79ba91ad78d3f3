package timeline

import (
	"encoding/hex"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/order"
)

// Facts are the facts about an order besides its timeline. Times are UTC. Unknown and
// inapplicable values are zero. The verbs print the JSON of Facts.
type Facts struct {
	Producer  string             `json:"producer"`
	ID        string             `json:"id"`
	Kind      entrustbus.Kind    `json:"kind"`
	Phase     order.Phase        `json:"phase"` // "" if no worker has begun the order
	Outcome   entrustbus.Outcome `json:"outcome,omitempty"`
	Replay    int                `json:"replay"`            // generation
	Trouble   string             `json:"trouble,omitempty"` // why it needs an operator, see TroubleOf
	Waits     string             `json:"waits,omitempty"`   // why it waits, one sentence
	Requested time.Time          `json:"requested_at,omitzero"`
	Submitted time.Time          `json:"submitted_at,omitzero"`
	Updated   time.Time          `json:"updated_at,omitzero"`
	Deadline  time.Time          `json:"deadline,omitzero"`
	// NextWakeup is the time of the next wake-up. Polls is the number of polls so far.
	NextWakeup time.Time `json:"next_wakeup,omitzero"`
	Polls      int       `json:"polls,omitempty"`
	TrackingID string    `json:"tracking_id,omitempty"`
	CAID       string    `json:"ca_id,omitempty"`
	ProfileID  string    `json:"profile_id,omitempty"`
	Serial     string    `json:"serial,omitempty"`

	Submissions       int  `json:"submissions"`
	PossibleDuplicate bool `json:"possible_duplicate"`
	Tries             int  `json:"tries,omitempty"`
	// Cause says why an order is unaccepted or indeterminate.
	Cause      string    `json:"cause,omitempty"`
	Owner      string    `json:"owner,omitempty"`
	LeaseUntil time.Time `json:"lease_until,omitzero"`
	// Policy is the name of the last policy applied, as in logs and in the verb policy.
	Policy string `json:"policy,omitempty"`

	// Names are the certificate's names, or the requested names: "dns:www.example.com".
	Names   []string `json:"names,omitempty"`
	Subject string   `json:"subject,omitempty"`
	// NotBefore and NotAfter are the validity of the certificate. Validity is the
	// requested validity as text.
	NotBefore time.Time               `json:"not_before,omitzero"`
	NotAfter  time.Time               `json:"not_after,omitzero"`
	Validity  string                  `json:"validity,omitempty"`
	Labels    map[string]string       `json:"labels,omitempty"`
	Error     *entrustbus.ResultError `json:"error,omitempty"`
	Warnings  []string                `json:"warnings,omitempty"`
}

// Key returns the key of the order.
func (f *Facts) Key() order.Key { return order.Key{Producer: f.Producer, ID: f.ID} }

// FactsOf returns the facts in a ledger record, at the time now. It reads neither the
// request in the record nor any other part of the bus.
func FactsOf(key order.Key, r order.Stored, now time.Time) *Facts {
	f := &Facts{
		Producer: key.Producer, ID: key.ID, Kind: r.Kind, Phase: r.Phase, Outcome: r.Outcome, Replay: r.Generation,
		Requested: r.RequestedAt, Submitted: r.SubmittedAt, Updated: r.At,
		Deadline: r.Deadline, TrackingID: r.TrackingID, CAID: r.CAID, ProfileID: r.ProfileID, Serial: r.Serial,
		Submissions: r.Submissions, PossibleDuplicate: r.PossibleDuplicate, Tries: r.Tries, Owner: r.Owner,
		Policy:  hex.EncodeToString(r.PolicyDigest[:len(r.PolicyDigest)/2]),
		Trouble: TroubleOf(r, now),
	}
	if r.Cause != nil {
		f.Cause = r.Cause.Message
	}
	if c := r.Conclusion; c != nil {
		f.Outcome, f.Error, f.Serial = c.Result.Outcome, c.Result.Error, c.Result.Serial
	}
	if r.Lease > 0 {
		f.LeaseUntil = r.At.Add(r.Lease)
	}
	return f
}

// overdue is how far a step may exceed its time before it counts as trouble.
const overdue = time.Minute

// TroubleOf says in a few words why an order needs an operator, "" if it does not.
// Reasons are two failures in a row, a lost answer, a step that takes too long, or an
// end that an operator can act on. The next success clears it.
func TroubleOf(r order.Stored, now time.Time) string {
	switch {
	case r.Phase == order.Indeterminate && r.Kind != entrustbus.KindCancel:
		return "the gateway may have accepted a submission"
	case r.Phase == order.Unaccepted && r.Tries >= 2:
		return "not accepted several times in a row"
	case r.Phase == order.Awaiting && (r.Noes >= 2 || r.Tries >= 2):
		return "polls fail"
	case r.Phase == order.Awaiting && now.After(r.Deadline.Add(overdue)):
		return "past its deadline"
	case r.Phase == order.Submitting && now.After(r.At.Add(r.Lease+overdue)):
		return "its worker is gone and no other took over"
	case r.Phase == order.Concluded && now.After(r.At.Add(overdue)):
		return "its result is not published"
	case r.Phase == order.Closed:
		switch r.Outcome {
		case entrustbus.OutcomeUnconfirmed:
			return "the gateway may have accepted it"
		case entrustbus.OutcomeFailed, entrustbus.OutcomeExpired:
			if r.Kind == entrustbus.KindIssue || r.Kind == entrustbus.KindRevoke || r.Kind == entrustbus.KindTrack {
				return "ended as " + string(r.Outcome)
			}
		}
	}
	return ""
}
