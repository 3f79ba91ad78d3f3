package order

import (
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// Format is the format of the records and wake-ups that this package writes. It reads this
// format and the one before.
const Format = 1

// Record is the ledger's record of one order. Times are UTC, of the server's clock as the
// writer measured it. The zero Record means that there is none. A Record is a value; the
// machine never changes its argument.
type Record struct {
	Phase Phase
	Kind  entrustbus.Kind
	// Generation is the replay generation in force, 0 for the request itself.
	Generation int
	// Digest is entrustbus.Digest of the request, or the SHA-256 of its bytes when it could not
	// be decoded.
	Digest []byte
	// Origin is the message that began this generation.
	Origin      Ref
	RequestedAt time.Time
	// CAID and ProfileID are those that the order uses, even if the configuration changes.
	CAID, ProfileID string
	// PolicyDigest identifies the policy that was asked last, nil when none was.
	PolicyDigest []byte
	// Validity is the policy's limit when it cut a longer demand or cap; 0 when it cut nothing.
	Validity time.Duration

	// Owner is the worker that may be calling the gateway for a submitting order, until the
	// record is older than Lease.
	Owner string
	Lease time.Duration
	// Submissions counts the calls that were written, or may have been.
	Submissions int
	// Resubmissions counts the submissions that followed an indeterminate one.
	Resubmissions     int
	PossibleDuplicate bool
	SubmittedAt       time.Time // begin of the last submission

	TrackingID string
	Deadline   time.Time // of an awaiting order
	// Tries counts the answers in a row that decided nothing. Each makes the next wait longer.
	Tries int
	// Waited is the sum of the waits after a refusal or a missing answer.
	// Settings.SubmitMaxWait bounds it. Waits for an open breaker do not count.
	Waited time.Duration
	// Noes counts the polls in a row that the gateway refused. NoSince is the time of the
	// first.
	Noes    int
	NoSince time.Time
	// Cause is why the order is unaccepted or indeterminate.
	Cause *entrustbus.ResultError
	// Request is the request as it came. The record keeps it while the order waits, when the
	// message is already acknowledged.
	Request *Message

	// Conclusion is the end of a concluded order.
	Conclusion *Conclusion
	// Outcome and Serial are those of the result of a closed order.
	Outcome entrustbus.Outcome
	Serial  string

	// unknown holds the keys that a newer worker wrote.
	unknown map[string]msgpack.RawMessage
}

// Conclusion is the end of an order: the result, and its dead letter.
type Conclusion struct {
	Result   *entrustbus.Result
	Encoding entrustbus.Encoding
	// TraceParent and TraceState are those of the request, "" for none.
	TraceParent, TraceState string
	// Reason is the reason of the dead letter, "" for none. Why is its line of text.
	Reason Reason
	Why    string
}

// Stored is a record with its place in the ledger. The zero value means that there is none.
type Stored struct {
	Record
	Revision uint64 // 0 before the first write
	// At is when the server stored the record. For its own write, a worker sets the server's
	// time after the acknowledgement: a look-up must not be too early.
	At time.Time
}

// to returns r in phase p, without the fields of the phase that it leaves. Only this function
// sets a phase.
func (r Record) to(p Phase) Record {
	r.Phase = p
	if p != Submitting {
		r.Owner, r.Lease = "", 0
	}
	if p != Awaiting {
		r.Deadline, r.Noes, r.NoSince = time.Time{}, 0, time.Time{}
	}
	if p != Unaccepted && p != Indeterminate {
		r.Cause = nil
	}
	if p == Closed {
		r.Tries, r.Waited, r.Request = 0, 0, nil
	}
	if p != Concluded {
		r.Conclusion = nil
	}
	return r
}

// Closed returns the closed record of an order. stands is the result in force: the order's own,
// or an earlier one.
func (r Record) Closed(stands *entrustbus.Result) Record {
	r = r.to(Closed)
	r.Outcome, r.Serial, r.TrackingID, r.Generation = stands.Outcome, stands.Serial, stands.TrackingID, stands.Replay
	return r
}

// leaseOver reports whether the owner of a submitting order can no longer begin a call, or be
// in one. The record's age is the difference of two readings of the server's clock. It is
// negative when that clock was set back. Then the lease is over once an observer saw the same
// revision for a whole lease.
func (s Stored) leaseOver(now time.Time, observed bool) bool {
	age := now.Sub(s.At)
	return age >= s.Lease || age < 0 && observed
}

// leaseLeft is the rest of the lease, at most the lease.
func (s Stored) leaseLeft(now time.Time) time.Duration {
	return min(max(s.Lease-now.Sub(s.At), 0), s.Lease)
}

// maybeDuplicate reports whether another submission of a closed order may be a second one at
// the gateway. The order is unconfirmed, or it failed although the gateway accepted it, for
// example with a wrong certificate.
func (r Record) maybeDuplicate() bool {
	return r.Outcome == entrustbus.OutcomeUnconfirmed ||
		r.Outcome == entrustbus.OutcomeFailed && r.Kind == entrustbus.KindIssue && (r.TrackingID != "" || r.Serial != "")
}
