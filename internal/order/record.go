package order

import (
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// Format is the format of records and wake-ups that this package writes. It reads this
// one and the one before.
const Format = 1

// Record is what the ledger keeps of one order. Instants are UTC, by the server's
// clock as the writer measured it. The zero Record says that there is none. A Record
// is a value; the machine never changes one that it was given.
type Record struct {
	Phase Phase
	Kind  entrustbus.Kind
	// Generation is the replay generation in force, 0 for the request itself.
	Generation int
	// Digest is entrustbus.Digest of the request, or the SHA-256 of its bytes where it
	// could not be decoded.
	Digest []byte
	// Origin is the stored message that this generation began with.
	Origin      Ref
	RequestedAt time.Time
	// CAID and ProfileID are those that the order uses, whatever the configuration says
	// later.
	CAID, ProfileID string
	// PolicyDigest names the policy that was asked last, nil where none was.
	PolicyDigest []byte
	// Validity is what the policy cut a longer wish, or cap, to; 0 where it cut nothing.
	Validity time.Duration

	// Owner may be calling the gateway for a submitting order, until the record is
	// older than Lease.
	Owner string
	Lease time.Duration
	// Submissions counts the calls that were written, and that may have been.
	Submissions int
	// Resubmissions counts those that followed one of unknown fate.
	Resubmissions     int
	PossibleDuplicate bool
	SubmittedAt       time.Time // begin of the last submission

	TrackingID string
	Deadline   time.Time // of an awaiting order
	// Tries counts the answers in a row that told nothing: each makes the next wait
	// longer.
	Tries int
	// Waited is the sum of the waits that a refusal or a missing answer caused.
	// Settings.SubmitMaxWait bounds it. Waits for an open breaker do not count.
	Waited time.Duration
	// Noes counts the polls in a row that the gateway answered with a no, NoSince is
	// when they began.
	Noes    int
	NoSince time.Time
	// Cause is why the order is unaccepted or indeterminate.
	Cause *entrustbus.ResultError
	// Request is the request as it came, kept while the order waits: the message that
	// brought it is gone then.
	Request *Message

	// Conclusion is the end of a concluded order.
	Conclusion *Conclusion
	// Outcome and Serial are those of the result of a closed order.
	Outcome entrustbus.Outcome
	Serial  string

	// unknown holds the keys of a record that a newer worker wrote.
	unknown map[string]msgpack.RawMessage
}

// Conclusion is how an order ends: the result, and the dead letter that belongs to it.
type Conclusion struct {
	Result   *entrustbus.Result
	Encoding entrustbus.Encoding
	// TraceParent and TraceState are those of the request, "" where it has none.
	TraceParent, TraceState string
	// Reason is that of the dead letter, "" where none belongs to this end; Why is its
	// one line of text.
	Reason Reason
	Why    string
}

// Stored is a record as the ledger holds it. The zero value says that there is none.
type Stored struct {
	Record
	Revision uint64 // 0 before the first write
	// At is when the server stored it. Of its own write, a worker gives the server's time
	// after the acknowledgement: a look-up must not be early.
	At time.Time
}

// to returns r in phase p, without what belongs to the phase that it leaves. It is the
// one place that sets a phase.
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

// Closed returns the record of an order whose result stands: this one, or one that was
// published before.
func (r Record) Closed(stands *entrustbus.Result) Record {
	r = r.to(Closed)
	r.Outcome, r.Serial, r.TrackingID, r.Generation = stands.Outcome, stands.Serial, stands.TrackingID, stands.Replay
	return r
}

// leaseOver reports whether the owner of a submitting order can no longer begin or be
// in a call. The record's age runs between two readings of the server's clock. A
// server whose clock went back makes it negative: then an observer that waited a whole
// lease with this revision in sight decides.
func (s Stored) leaseOver(now time.Time, observed bool) bool {
	age := now.Sub(s.At)
	return age >= s.Lease || age < 0 && observed
}

// leaseLeft is how long to wait until the lease is over, at most the lease.
func (s Stored) leaseLeft(now time.Time) time.Duration {
	return min(max(s.Lease-now.Sub(s.At), 0), s.Lease)
}

// maybeDuplicate reports whether another submission of a closed order may be a second one
// at the gateway: its fate is unknown, or it failed although the gateway accepted it,
// as with a wrong certificate.
func (r Record) maybeDuplicate() bool {
	return r.Outcome == entrustbus.OutcomeUnconfirmed ||
		r.Outcome == entrustbus.OutcomeFailed && r.Kind == entrustbus.KindIssue && (r.TrackingID != "" || r.Serial != "")
}
