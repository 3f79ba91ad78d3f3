package control

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

const feedPrefix = "feed."

// Feed is how far a CA's certificate events were read. The zero value is a feed that never
// began. It is a plain value.
type Feed struct {
	// Since is the date, by the gateway, of the newest event that was read; the next reading
	// begins before it.
	Since time.Time `json:"since"`
	// First is the sequence, in the stream of events, of the oldest event that the last whole
	// reading saw, and Last that of the newest event of the CA then. 0: there was none.
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`

	// Revision is what SaveFeed compares. It is not stored. 0: no record yet.
	Revision uint64 `json:"-"`
}

// ReadFeed returns the record of a CA's feed from the leader; the zero Feed where there is
// none. A record that no worker wrote counts as none.
func (b *Bucket) ReadFeed(ctx context.Context, ca string) (Feed, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	last, err := b.read(ctx, feedPrefix+token(ca))
	if err != nil {
		return Feed{}, fmt.Errorf("reading how far the events of CA %s were read: %w", ca, err)
	}
	var f Feed
	if last.data == nil || json.Unmarshal(last.data, &f) != nil {
		f = Feed{}
	}
	f.Revision = last.revision
	return f, nil
}

// SaveFeed writes the record over the revision that it was read as, and sets its revision.
// It returns ErrConflict where another worker wrote it since.
func (b *Bucket) SaveFeed(ctx context.Context, ca string, f *Feed) error {
	data, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("encoding how far the events of CA %s were read: %w", ca, err)
	}
	revision, err := b.write(ctx, feedPrefix+token(ca), f.Revision, data, 0)
	if err != nil {
		return fmt.Errorf("writing how far the events of CA %s were read: %w", ca, err)
	}
	f.Revision = revision
	return nil
}
