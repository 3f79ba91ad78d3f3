package deadletter

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// Purge deletes dead letters by their sequences and returns how many it deleted. A missing one
// is no error. After an error, the remaining ones stay.
//
// It never purges by subject: a dead letter that arrives while an operator decides must stay,
// since the operator has not seen it.
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

// isGone reports whether a dead letter is already purged. The client does not pass on the
// server's code for that. isGone asks the leader: a lagging replica still shows the message.
func (b *Box) isGone(ctx context.Context, sequence uint64) bool {
	_, err := streams.At(ctx, b.js, b.stream, sequence)
	return errors.Is(err, streams.ErrNoMessage)
}
