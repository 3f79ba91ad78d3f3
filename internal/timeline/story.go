package timeline

import (
	"errors"
	"time"
)

// ErrUnknown says that neither the ledger nor any other part of the bus knows the order. The
// ledger has no request that no worker has begun, and forgets closed orders after a while.
var ErrUnknown = errors.New("the ledger does not know the order")

// Story is an order and what happened to it. It is a value of its reader's own.
type Story struct {
	Facts
	// Entries are in order of time. Those of one instant are in order of life.
	Entries []Entry `json:"timeline"`
	// Notes say what is missing, one sentence each.
	Notes []string `json:"notes,omitempty"`
}

// Entry is one thing that happened to an order.
type Entry struct {
	// Time is UTC: the server's where the bus stored something, else the worker's.
	Time time.Time `json:"time"`
	What What      `json:"what"`
	// Detail is one line for people: untrusted text. It may be empty.
	Detail string `json:"detail,omitempty"`
	// Replay is the generation.
	Replay int `json:"replay"`
	// Source is what says so.
	Source Source `json:"source"`
}

// What is what happened, one word or two.
type What string

// What happens to orders. An end is its outcome: issued, revoked, rejected, failed, expired,
// unconfirmed or cancelled. A decision of the audit trail has the trail's word.
const (
	Received   What = "received"    // the bus stored the request
	Replayed   What = "replayed"    // an operator began another generation
	Submitted  What = "submitted"   // a worker sent it to the gateway
	Refused    What = "refused"     // the gateway did not accept it; it is tried again
	Deferred   What = "deferred"    // it waits for its turn
	LostReply  What = "reply lost"  // the gateway may have accepted it
	Parked     What = "parked"      // a worker scheduled the next wake-up
	Due        What = "due"         // its wake-up fired, and a worker is to take it
	DeadLetter What = "dead letter" // it was kept for an operator
)

// Source names what an entry was read from.
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
