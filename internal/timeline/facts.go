package timeline

import (
	"encoding/hex"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/order"
)

// Facts is what is shown of an order beside its story. Instants are UTC. What is not known, or
// does not apply, is zero. Its JSON is what the verbs print.
type Facts struct {
	Producer  string             `json:"producer"`
	ID        string             `json:"id"`
	Kind      entrustbus.Kind    `json:"kind"`
	Phase     order.Phase        `json:"phase"` // "" where no worker has begun the order
	Outcome   entrustbus.Outcome `json:"outcome,omitempty"`
	Replay    int                `json:"replay"`            // generation
	Trouble   string             `json:"trouble,omitempty"` // why an operator should look, see TroubleOf
	Waits     string             `json:"waits,omitempty"`   // why it waits, one sentence
	Requested time.Time          `json:"requested_at,omitzero"`
	Submitted time.Time          `json:"submitted_at,omitzero"`
	Updated   time.Time          `json:"updated_at,omitzero"`
	Deadline  time.Time          `json:"deadline,omitzero"`
	// NextWakeup is when the order is woken next, and Polls how often it was polled.
	NextWakeup time.Time `json:"next_wakeup,omitzero"`
	Polls      int       `json:"polls,omitempty"`
	TrackingID string    `json:"tracking_id,omitempty"`
	CAID       string    `json:"ca_id,omitempty"`
	ProfileID  string    `json:"profile_id,omitempty"`
	Serial     string    `json:"serial,omitempty"`

	Submissions       int  `json:"submissions"`
	PossibleDuplicate bool `json:"possible_duplicate"`
	Tries             int  `json:"tries,omitempty"`
	// Cause is why an order is unaccepted or indeterminate.
	Cause      string    `json:"cause,omitempty"`
	Owner      string    `json:"owner,omitempty"`
	LeaseUntil time.Time `json:"lease_until,omitzero"`
	// Policy names the policy that was asked last, as logs and the verb policy name it.
	Policy string `json:"policy,omitempty"`

	// Names are those that the certificate has, or is to have: "dns:www.example.com".
	Names   []string `json:"names,omitempty"`
	Subject string   `json:"subject,omitempty"`
	// NotBefore and NotAfter are the validity of the certificate; Validity is what the
	// request asks for, in words of its own.
	NotBefore time.Time               `json:"not_before,omitzero"`
	NotAfter  time.Time               `json:"not_after,omitzero"`
	Validity  string                  `json:"validity,omitempty"`
	Labels    map[string]string       `json:"labels,omitempty"`
	Error     *entrustbus.ResultError `json:"error,omitempty"`
	Warnings  []string                `json:"warnings,omitempty"`
}

// Key is the key of the order.
func (f *Facts) Key() order.Key { return order.Key{Producer: f.Producer, ID: f.ID} }

// FactsOf returns what a record alone says of its order at an instant. It does not read the
// request that the record keeps, nor anything else of the bus.
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

// overdue is how long a step may take beyond its time before it is trouble.
const overdue = time.Minute

// TroubleOf says in a few words why an operator should look at an order, "" where nothing calls
// for it: two failures in a row, a fate that is not known, a step that takes too long, or an
// end that an operator can act on. The next success clears it.
func TroubleOf(r order.Stored, now time.Time) string {
	switch {
	case r.Phase == order.Indeterminate && r.Kind != entrustbus.KindCancel:
		return "the fate of a submission is not known"
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
