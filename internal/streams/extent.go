package streams

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Extent identifies a stream and says how far it has counted. The zero value holds nothing.
type Extent struct {
	// Made is when the stream was made, by the server's clock. It distinguishes the stream from
	// a deleted one of the same name. Compare it only; it is not used as a time.
	Made time.Time `json:"made"`
	// Last is the highest sequence that the stream has assigned. It never decreases unless the
	// server loses writes.
	Last uint64 `json:"last"`
	// At is when the newest message was stored, by the server's clock; zero when there is none.
	At time.Time `json:"at,omitzero"`
}

// ExtentOf reads the extent from the leader of a stream. It is safe for concurrent use.
func ExtentOf(ctx context.Context, js jetstream.JetStream, stream string) (Extent, error) {
	st, err := js.Stream(ctx, stream)
	if err != nil {
		return Extent{}, fmt.Errorf("reading the extent of stream %s: %w", stream, err)
	}
	info := st.CachedInfo()
	return Extent{Made: info.Created, Last: info.State.LastSeq, At: info.State.LastTime.UTC()}, nil
}

// Holds reports whether e counts this sequence of the same stream. It is false for the zero
// Extent.
func (e Extent) Holds(sequence uint64) bool { return !e.Made.IsZero() && sequence <= e.Last }
