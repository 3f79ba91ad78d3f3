package consumer

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/streams"
)

const (
	// trusted is how many deliveries of a message are taken for ordinary:
	// restarts and lost acks happen. From then on each try is counted before it
	// is made.
	trusted = 3
	// lethal is how many counted tries may end without a word before the
	// message is taken for the cause.
	lethal = 3
)

// suspects counts the tries of messages that keep coming back, in the control
// bucket, before anything is tried. A try that ends in any orderly way takes
// its count back, so that only a death of the process leaves one: neither a
// rolling restart nor a long outage makes a suspect.
type suspects struct {
	js     jetstream.JetStream
	bucket string
}

func (s *suspects) key(d *delivery) string {
	return "suspect." + d.stream + "." + strconv.FormatUint(d.sequence, 10)
}

// begin counts one more try where the message is under suspicion. crashed says
// that enough of them killed the worker.
func (s *suspects) begin(ctx context.Context, d *delivery) (counted, crashed bool, err error) {
	if d.deliveries <= trusted {
		return false, false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	tries := 0
	m, err := streams.Last(ctx, s.js, "KV_"+s.bucket, "$KV."+s.bucket+"."+s.key(d))
	switch {
	case errors.Is(err, streams.ErrNoMessage):
	case err != nil:
		return false, false, fmt.Errorf("counting the tries of message %d of %s: %w", d.sequence, d.stream, err)
	default:
		tries, _ = strconv.Atoi(string(m.Data)) // a deleted key has no data: 0
	}
	if tries >= lethal {
		return false, true, nil
	}
	kv, err := s.js.KeyValue(ctx, s.bucket)
	if err == nil {
		_, err = kv.PutString(ctx, s.key(d), strconv.Itoa(tries+1))
	}
	if err != nil {
		return false, false, fmt.Errorf("counting the tries of message %d of %s: %w", d.sequence, d.stream, err)
	}
	return true, false, nil
}

// clear forgets the tries of a message. A count that stays behind does no harm:
// it names a stream sequence, which never comes again.
func (s *suspects) clear(ctx context.Context, d *delivery) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if kv, err := s.js.KeyValue(ctx, s.bucket); err == nil {
		_ = kv.Purge(ctx, s.key(d), jetstream.PurgeTTL(markerTTL))
	}
}
