package control

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

const feedPrefix = "feed."

// Feed is the progress of reading a CA's certificate events. The zero value is a feed
// that never began. It is a plain value.
type Feed struct {
	// Since is the gateway's date of the newest event read. The next reading begins
	// before it.
	Since time.Time `json:"since"`
	// First and Last are sequences of the stream of events. First is the oldest event
	// that the last complete reading saw, Last the newest event of the CA at that time.
	// 0: there was no event.
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`

	// Revision is the revision that SaveFeed compares. It is not stored. 0: no record
	// yet.
	Revision uint64 `json:"-"`
}

// ReadFeed returns the record of a CA's feed from the leader; the zero Feed if there is
// none, or if no worker wrote the value.
func (b *Bucket) ReadFeed(ctx context.Context, ca string) (Feed, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	last, err := b.read(ctx, feedPrefix+token(ca))
	if err != nil {
		return Feed{}, fmt.Errorf("reading the event cursor of CA %s: %w", ca, err)
	}
	var f Feed
	if last.data == nil || json.Unmarshal(last.data, &f) != nil {
		f = Feed{}
	}
	f.Revision = last.revision
	return f, nil
}

// SaveFeed writes the record if its key still has the revision f.Revision, and sets the
// new revision. It returns ErrConflict if another worker wrote it since.
func (b *Bucket) SaveFeed(ctx context.Context, ca string, f *Feed) error {
	data, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("encoding the event cursor of CA %s: %w", ca, err)
	}
	revision, err := b.write(ctx, feedPrefix+token(ca), f.Revision, data, 0)
	if err != nil {
		return fmt.Errorf("writing the event cursor of CA %s: %w", ca, err)
	}
	f.Revision = revision
	return nil
}
