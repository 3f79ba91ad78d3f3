package snapshot

import (
	"time"

	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/order"
)

// Snapshot is the state of the fleet at one Read. The zero value was never read. It is a
// plain value; its slices are shared and must not be changed.
type Snapshot struct {
	// At is when the Read ended.
	At   time.Time `json:"at"`
	NATS NATS      `json:"nats"`
	// Fleet holds workers, open breakers, pauses, suspensions, the watchdog's last scan
	// with its counts of waiting orders by phase, and the last rollback.
	Fleet  Part[control.State] `json:"fleet"`
	Lanes  Part[[]Lane]        `json:"lanes"`
	Parked Part[Parked]        `json:"parked"`
	// Letters has an entry for every reason, also without dead letters.
	Letters Part[[]Letters] `json:"dead_letters"`
	Streams Part[[]Stream]  `json:"streams"`
}

// Unreachable returns the snapshot of a fleet whose NATS could not be reached.
func Unreachable(err error) Snapshot {
	return Snapshot{At: time.Now().UTC(), NATS: NATS{Problem: oneLine(err.Error())}}
}

// Part is a part of a Snapshot with the time of its reading. The zero value was never
// read.
type Part[T any] struct {
	// At is when Of was read, by this host's clock; zero: never.
	At time.Time `json:"read_at,omitzero"`
	// Problem says why the last reading failed. Empty: Of is from the last reading.
	Problem string `json:"problem,omitempty"`
	Of      T      `json:"value"`
}

// Known reports whether there are figures to show, stale or not.
func (p Part[T]) Known() bool { return !p.At.IsZero() }

// Stale reports whether the last reading failed, so that the figures are older.
func (p Part[T]) Stale() bool { return p.Problem != "" }

// NATS describes the connection of the Reader.
type NATS struct {
	Connected bool `json:"connected"`
	// URL is the server's, without credentials. While disconnected it is the last
	// server's. Empty: there was no connection yet.
	URL     string `json:"url,omitempty"`
	Version string `json:"version,omitempty"`
	// Answered is when JetStream last answered; zero: never. If a part has been stale for
	// longer, its Problem says why.
	Answered time.Time `json:"answered,omitzero"`
	// RTT is the shortest round trip of the last reading.
	RTT time.Duration `json:"rtt_ns,omitempty"`
	// Skew is how far the server's clock is ahead of this host's, within RTT; negative if
	// it is behind.
	Skew time.Duration `json:"skew_ns"`
	// Problem says why nothing could be read: no connection, or JetStream does not
	// answer.
	Problem string `json:"problem,omitempty"`
}

// Lane is a consumer of the fleet with its own concurrency.
type Lane struct {
	// Name is one of Lanes.
	Name string `json:"lane"`
	// InFlight is the number of messages that workers have and have not acknowledged.
	// Backlog is the number of messages that no worker has.
	InFlight int    `json:"in_flight"`
	Backlog  uint64 `json:"backlog"`
	// Oldest is when the oldest unhandled message was stored; zero for none.
	Oldest time.Time `json:"oldest,omitzero"`
}

// Parked describes the parked stream. Fleet has the counts by phase, from the watchdog's
// last scan.
type Parked struct {
	// Orders is the number of wake-ups and of due messages without acknowledgement.
	Orders uint64 `json:"orders"`
}

// Letters describes the dead letters of one reason.
type Letters struct {
	Reason order.Reason `json:"reason"`
	Count  uint64       `json:"count"`
	// Oldest is when the oldest was stored; zero for none.
	Oldest time.Time `json:"oldest,omitzero"`
	// Fullness is the share of the limit per reason that the fullest producer uses, 0 to
	// 1. Above 1 the oldest dead letters are removed.
	Fullness float64 `json:"fullness"`
}

// Stream is a stream, or the stream of a bucket.
type Stream struct {
	Name     string `json:"name"`
	Messages uint64 `json:"messages"`
	Bytes    uint64 `json:"bytes"`
	// MaxBytes and MaxMessages bound the stream; 0: no bound.
	MaxBytes    uint64 `json:"max_bytes,omitempty"`
	MaxMessages uint64 `json:"max_messages,omitempty"`
	// Fullness is the share of the nearer bound in use, 0 to 1; 0 without a bound.
	Fullness float64 `json:"fullness"`
	// Replicas is the number of replicas. Behind is the number of them that are offline
	// or not current.
	Replicas int `json:"replicas"`
	Behind   int `json:"replicas_behind,omitempty"`
	// Last is when the newest message was stored; zero for none.
	Last time.Time `json:"last,omitzero"`
	// Sequence is the highest sequence of the stream. The difference of two readings is
	// the number of messages published between them.
	Sequence uint64 `json:"last_sequence"`
}
