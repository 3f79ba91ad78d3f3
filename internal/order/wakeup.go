package order

import (
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// Lane is the lane that a due message goes to: a token of its subject.
type Lane string

// The lanes of due messages.
const (
	LanePoll     Lane = "poll"     // asks for the state of an order
	LaneResubmit Lane = "resubmit" // submits, or looks up, an enrollment
	LaneRevoke   Lane = "revoke"   // repeats a revocation
	LaneManage   Lane = "manage"   // repeats a cancellation
)

// Lanes returns every lane of due messages.
func Lanes() []Lane { return []Lane{LanePoll, LaneResubmit, LaneRevoke, LaneManage} }

// Wakeup is what brings a waiting order back: when, to which lane, and the request
// itself, so that a ledger which lost the order can be restored from it.
type Wakeup struct {
	Key        Key
	Kind       entrustbus.Kind
	Lane       Lane
	Phase      Phase // of the record when it was scheduled, for counts; "" where an older worker scheduled it
	Generation int
	Due        time.Time // UTC, the server's clock
	// At is when the server is to fire it, by the clock of the server that does; zero: Due.
	// It is not read back.
	At          time.Time
	RequestedAt time.Time // of the request; zero where an older worker scheduled it
	Deadline    time.Time // of an awaiting order
	Polls       int       // made so far
	TrackingID  string
	// Observed is the revision of a submitting record whose lease this wake-up waits
	// for from its beginning, else 0.
	Observed uint64
	Request  *Message
}

// laneOf returns the lane that wakes an order of this record.
func laneOf(r Record) Lane {
	switch {
	case r.Phase == Awaiting:
		return LanePoll
	case r.Kind == entrustbus.KindRevoke:
		return LaneRevoke
	case r.Kind == entrustbus.KindCancel || r.Kind == entrustbus.KindTrack:
		return LaneManage
	}
	return LaneResubmit
}

// WakeupOf is a wake-up for an order that has none: the watchdog's. The worker that gets
// it decides by the record.
func WakeupOf(key Key, r Record, now time.Time) *Wakeup {
	return &Wakeup{
		Key: key, Kind: r.Kind, Lane: laneOf(r), Phase: r.Phase, Generation: r.Generation, Due: now.UTC(), Deadline: r.Deadline,
		RequestedAt: r.RequestedAt, TrackingID: r.TrackingID, Request: r.Request,
	}
}
