package deadletter

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// Purge deletes letters by their place in the stream and returns how many it
// deleted. One that is gone already is no error. After an error the rest stays.
//
// It never purges by subject: a letter that arrives while an operator decides
// has not been looked at, and stays.
func (b *Box) Purge(ctx context.Context, sequences ...uint64) (int, error) {
	st, err := b.stored(ctx)
	if err != nil {
		return 0, err
	}
	purged := 0
	for _, sequence := range sequences {
		switch err := st.DeleteMsg(ctx, sequence); {
		case err == nil:
			purged++
		case errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) && b.isGone(ctx, sequence):
		default:
			return purged, fmt.Errorf("purging dead letter %d: %w", sequence, err)
		}
	}
	return purged, nil
}

// isGone tells a letter that somebody else purged from one that may not be: the
// client passes the server's code for neither on. Only the leader knows: a
// replica that lags still shows the letter.
func (b *Box) isGone(ctx context.Context, sequence uint64) bool {
	_, err := streams.At(ctx, b.js, b.stream, sequence)
	return errors.Is(err, streams.ErrNoMessage)
}
