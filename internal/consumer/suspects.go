package consumer

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/semaphore"

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
//
// A death is counted for everything that was in hand. So what has a count is
// tried with nothing else in hand: the next death tells that it was this one.
type suspects struct {
	js     jetstream.JetStream
	bucket string
	hand   *semaphore.Weighted // of everything: a message takes one part, one with a count all
}

// everything is more than can be in hand at once.
const everything = 1 << 30

func newSuspects(js jetstream.JetStream, bucket string) *suspects {
	return &suspects{js: js, bucket: bucket, hand: semaphore.NewWeighted(everything)}
}

func (s *suspects) key(d *delivery) string {
	return "suspect." + d.stream + "." + strconv.FormatUint(d.sequence, 10)
}

// begin counts one more try where the message is under suspicion. crashed says
// that enough of them killed the worker. What waits for its turn goes back when
// stop ends. end must follow where there is no error.
func (s *suspects) begin(ctx, stop context.Context, d *delivery) (counted, crashed bool, err error) {
	tries := 0
	if d.deliveries > trusted {
		if tries, err = s.tries(ctx, d); err != nil {
			return false, false, err
		}
	}
	d.parts = 1
	if tries > 0 && tries < lethal {
		d.parts = everything
	}
	if err := s.hand.Acquire(stop, d.parts); err != nil {
		return false, false, cause(stop, err)
	}
	if d.deliveries <= trusted || tries >= lethal {
		return false, tries >= lethal, nil
	}
	put, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	kv, err := s.js.KeyValue(put, s.bucket)
	if err == nil {
		_, err = kv.PutString(put, s.key(d), strconv.Itoa(tries+1))
	}
	if err != nil {
		s.end(d)
		return false, false, fmt.Errorf("counting the tries of message %d of %s: %w", d.sequence, d.stream, err)
	}
	return true, false, nil
}

// end makes room for what waits for its turn.
func (s *suspects) end(d *delivery) { s.hand.Release(d.parts) }

// tries reads how many tries of the message ended without a word.
func (s *suspects) tries(ctx context.Context, d *delivery) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	m, err := streams.Last(ctx, s.js, "KV_"+s.bucket, "$KV."+s.bucket+"."+s.key(d))
	switch {
	case errors.Is(err, streams.ErrNoMessage):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("counting the tries of message %d of %s: %w", d.sequence, d.stream, err)
	}
	tries, _ := strconv.Atoi(string(m.Data)) // a deleted key has no data: 0
	return tries, nil
}

// clear forgets the tries of a message. A count that stays behind is one death
// too many if the message comes again, and no harm otherwise: it names a stream
// sequence, which is never given twice.
func (s *suspects) clear(ctx context.Context, d *delivery) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ackTimeout)
	defer cancel()
	if kv, err := s.js.KeyValue(ctx, s.bucket); err == nil {
		_ = kv.Purge(ctx, s.key(d), jetstream.PurgeTTL(markerTTL))
	}
}
