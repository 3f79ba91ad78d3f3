package order

import (
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// Lane is the lane of a due message: a token of its subject.
type Lane string

// The lanes of due messages.
const (
	LanePoll     Lane = "poll"     // polls an order
	LaneResubmit Lane = "resubmit" // submits or looks up an enrollment
	LaneRevoke   Lane = "revoke"   // repeats a revocation
	LaneManage   Lane = "manage"   // repeats a cancellation
)

// Lanes returns every lane of due messages.
func Lanes() []Lane { return []Lane{LanePoll, LaneResubmit, LaneRevoke, LaneManage} }

// Wakeup says when a waiting order is woken, and in which lane. It holds the request, so that
// an order can be restored after the ledger lost it.
type Wakeup struct {
	Key        Key
	Kind       entrustbus.Kind
	Lane       Lane
	Phase      Phase // of the record when it was scheduled, for counts; "" if an older worker scheduled it
	Generation int
	Due        time.Time // UTC, the server's clock
	// At is when the server must fire it, by the clock of that server; zero means Due. It is
	// not read back.
	At          time.Time
	RequestedAt time.Time // of the request; zero if an older worker scheduled it
	Deadline    time.Time // of an awaiting order
	Polls       int       // count of polls so far
	TrackingID  string
	// Observed is the revision of a submitting record, when this wake-up waits for its whole
	// order lease; else 0.
	Observed uint64
	Request  *Message
}

// laneOf returns the lane that wakes an order with this record.
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

// WakeupOf returns the watchdog's wake-up for an order that has none. The worker that gets its
// due message decides by the record.
func WakeupOf(key Key, r Record, now time.Time) *Wakeup {
	return &Wakeup{
		Key: key, Kind: r.Kind, Lane: laneOf(r), Phase: r.Phase, Generation: r.Generation, Due: now.UTC(), Deadline: r.Deadline,
		RequestedAt: r.RequestedAt, TrackingID: r.TrackingID, Request: r.Request,
	}
}
