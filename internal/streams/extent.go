package streams

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Extent is how far a stream has come. The zero value holds nothing.
type Extent struct {
	// Made is when the stream was made, by the server's clock: it tells a stream from one
	// of the same name that was deleted. It is compared and never taken for an instant.
	Made time.Time `json:"made"`
	// Last is the highest sequence that the stream has given out. While no write is lost
	// it never goes down, whatever is removed.
	Last uint64 `json:"last"`
	// At is when the newest message was stored, by the server's clock; zero where there is none.
	At time.Time `json:"at,omitzero"`
}

// ExtentOf asks the leader of a stream. Safe for concurrent use.
func ExtentOf(ctx context.Context, js jetstream.JetStream, stream string) (Extent, error) {
	st, err := js.Stream(ctx, stream)
	if err != nil {
		return Extent{}, fmt.Errorf("asking how far the stream %s has come: %w", stream, err)
	}
	info := st.CachedInfo()
	return Extent{Made: info.Created, Last: info.State.LastSeq, At: info.State.LastTime.UTC()}, nil
}

// Holds reports whether a message of the same stream was stored by then.
func (e Extent) Holds(sequence uint64) bool { return !e.Made.IsZero() && sequence <= e.Last }
