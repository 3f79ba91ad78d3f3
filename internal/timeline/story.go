package timeline

import (
	"errors"
	"time"
)

// ErrUnknown says that no part of the bus knows the order. The ledger has no record
// before a worker begins the request, and drops closed orders after a while.
var ErrUnknown = errors.New("the ledger does not know the order")

// Story is the timeline of an order. The caller owns it.
type Story struct {
	Facts
	// Entries are in order of time. Entries with the same time are in order of life.
	Entries []Entry `json:"timeline"`
	// Notes name the missing parts, one sentence each.
	Notes []string `json:"notes,omitempty"`
}

// Entry is one event in the life of an order.
type Entry struct {
	// Time is UTC: the server's time if the bus stored something, else the worker's.
	Time time.Time `json:"time"`
	What What      `json:"what"`
	// Detail is one line for people: untrusted text. It may be empty.
	Detail string `json:"detail,omitempty"`
	// Replay is the generation.
	Replay int `json:"replay"`
	// Source is the origin of the entry.
	Source Source `json:"source"`
}

// What is the event, in one or two words.
type What string

// Events in the life of an order. The end is named by the outcome: issued, revoked,
// rejected, failed, expired, unconfirmed or cancelled. A decision of the audit trail has
// the trail's name.
const (
	Received   What = "received"    // the bus stored the request
	Replayed   What = "replayed"    // an operator began another generation
	Submitted  What = "submitted"   // a worker sent it to the gateway
	Refused    What = "refused"     // the gateway did not accept it; a worker tries again
	Deferred   What = "deferred"    // it waits for its turn
	LostReply  What = "reply lost"  // the gateway may have accepted it
	Parked     What = "parked"      // a worker scheduled the next wake-up
	Due        What = "due"         // its wake-up fired, and no worker has handled it yet
	DeadLetter What = "dead letter" // the order is kept for an operator
)

// Source names the origin of an entry.
type Source string

// The sources.
const (
	FromRequest Source = "request"
	FromLedger  Source = "ledger"
	FromWakeup  Source = "wake-up"
	FromResult  Source = "result"
	FromLetter  Source = "dead letter"
	FromAudit   Source = "audit"
)
