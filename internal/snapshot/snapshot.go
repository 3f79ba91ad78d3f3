package snapshot

import (
	"time"

	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/order"
)

// Snapshot is the fleet as one Read found it. The zero value was never read. It is a plain
// value; its slices are shared and not to be changed.
type Snapshot struct {
	// At is when the reading ended.
	At   time.Time `json:"at"`
	NATS NATS      `json:"nats"`
	// Fleet has workers, open breakers, pauses, suspensions, the watchdog's last scan, which
	// counts waiting orders by phase, and the last rollback.
	Fleet  Part[control.State] `json:"fleet"`
	Lanes  Part[[]Lane]        `json:"lanes"`
	Parked Part[Parked]        `json:"parked"`
	// Letters has every reason, those of no letter included.
	Letters Part[[]Letters] `json:"dead_letters"`
	Streams Part[[]Stream]  `json:"streams"`
}

// Unreachable is the snapshot of a fleet whose NATS could not be reached.
func Unreachable(err error) Snapshot {
	return Snapshot{At: time.Now().UTC(), NATS: NATS{Problem: oneLine(err.Error())}}
}

// Part is some figures with the instant of their reading. The zero value was never read.
type Part[T any] struct {
	// At is when Of was read, by this host's clock; zero: never.
	At time.Time `json:"read_at,omitzero"`
	// Problem says why the last reading failed. Empty: Of is as of the last reading.
	Problem string `json:"problem,omitempty"`
	Of      T      `json:"value"`
}

// Known reports whether there are figures to show, stale or not.
func (p Part[T]) Known() bool { return !p.At.IsZero() }

// Stale reports whether the figures are of an earlier reading than the last.
func (p Part[T]) Stale() bool { return p.Problem != "" }

// NATS is the connection that was read by.
type NATS struct {
	Connected bool `json:"connected"`
	// URL is the server's, without credentials; that of the last connection where there is
	// none. Empty: there never was one.
	URL     string `json:"url,omitempty"`
	Version string `json:"version,omitempty"`
	// Answered is when JetStream answered last; zero: never. Where a part has been stale for
	// longer, the part itself says why.
	Answered time.Time `json:"answered,omitzero"`
	// RTT is the shortest of the answers of the last reading.
	RTT time.Duration `json:"rtt_ns,omitempty"`
	// Skew is how far the server's clock is ahead of this host's, within RTT; below 0 where
	// it is behind.
	Skew time.Duration `json:"skew_ns"`
	// Problem says why nothing could be read: no connection, or JetStream does not answer.
	Problem string `json:"problem,omitempty"`
}

// Lane is a consumer of the fleet with a concurrency of its own.
type Lane struct {
	// Name is one of Lanes.
	Name string `json:"lane"`
	// InFlight are the messages that workers have and did not acknowledge yet, Backlog
	// those that no worker was given.
	InFlight int    `json:"in_flight"`
	Backlog  uint64 `json:"backlog"`
	// Oldest is when the oldest message that is not done with was stored; zero for none.
	Oldest time.Time `json:"oldest,omitzero"`
}

// Parked is what the parked stream holds. Fleet says how those orders are spread over
// phases, as of the watchdog's last scan.
type Parked struct {
	// Orders have a wake-up, or a due message that is not acknowledged yet.
	Orders uint64 `json:"orders"`
}

// Letters are the dead letters of one reason.
type Letters struct {
	Reason order.Reason `json:"reason"`
	Count  uint64       `json:"count"`
	// Oldest is when the oldest was stored; zero for none.
	Oldest time.Time `json:"oldest,omitzero"`
	// Fullness is how much the producer that has most of them has of the letters that are kept, 0 to
	// 1. Beyond 1 its oldest go.
	Fullness float64 `json:"fullness"`
}

// Stream is a stream, or the stream of a bucket.
type Stream struct {
	Name     string `json:"name"`
	Messages uint64 `json:"messages"`
	Bytes    uint64 `json:"bytes"`
	// MaxBytes and MaxMessages bound it; 0: nothing does.
	MaxBytes    uint64 `json:"max_bytes,omitempty"`
	MaxMessages uint64 `json:"max_messages,omitempty"`
	// Fullness is how near it is to the nearer bound, 0 to 1; 0 without one.
	Fullness float64 `json:"fullness"`
	// Replicas it has, and Behind are those that are offline or not current.
	Replicas int `json:"replicas"`
	Behind   int `json:"replicas_behind,omitempty"`
	// Last is when the newest message was stored; zero for none.
	Last time.Time `json:"last,omitzero"`
	// Sequence is the highest that the stream has given out: what was published since another
	// reading is the difference.
	Sequence uint64 `json:"last_sequence"`
}
