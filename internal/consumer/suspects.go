package consumer

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

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
// Nothing new is taken up while it waits for that. So it waits for a short time and
// goes back for a longer one: other messages have four fifths of the time. The
// longer it stands under suspicion, the longer it waits, in the end for as long as
// any call lasts: so it has its turn, however busy the worker is.
type suspects struct {
	js      jetstream.JetStream
	bucket  string
	longest time.Duration       // that a call, and what belongs to it, takes
	hand    *semaphore.Weighted // of everything: a message takes one part, one with a count all
}

const (
	// everything is more than can be in hand at once.
	everything = 1 << 30
	// shortest is how long a suspect waits at least for everything else in hand.
	shortest = 2 * time.Second
)

var errNotAlone = errors.New("a message that may have killed a worker waits until nothing else is in hand")

func newSuspects(js jetstream.JetStream, bucket string, longest time.Duration) *suspects {
	return &suspects{js: js, bucket: bucket, longest: longest, hand: semaphore.NewWeighted(everything)}
}

func (s *suspects) key(d *delivery) string {
	return "suspect." + d.stream + "." + strconv.FormatUint(d.sequence, 10)
}

// begin counts one more try where the message is under suspicion. crashed says
// that enough of them killed the worker. What waits for its turn goes back when
// stop ends. end must follow where there is no error.
func (s *suspects) begin(ctx, stop context.Context, d *delivery) (counted, crashed bool, err error) {
	tries, since := 0, time.Time{}
	if d.deliveries > trusted {
		if tries, since, err = s.tries(ctx, d); err != nil {
			return false, false, err
		}
	}
	d.parts = 1
	if tries > 0 && tries < lethal {
		d.parts = everything
	}
	if err := s.acquire(stop, d, since); err != nil {
		return false, false, err
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

// acquire waits until the message may be tried beside what else is in hand, or
// alone where it has been under suspicion since an instant.
func (s *suspects) acquire(stop context.Context, d *delivery, since time.Time) error {
	ctx, wait := stop, time.Duration(0)
	if d.parts == everything {
		wait = min(max(time.Since(since)/8, shortest), s.longest)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(stop, wait)
		defer cancel()
	}
	err := s.hand.Acquire(ctx, d.parts)
	switch {
	case err == nil:
		return nil
	case stop.Err() != nil:
		return context.Cause(stop)
	}
	return later(4*wait, errNotAlone)
}

// end makes room for what waits for its turn.
func (s *suspects) end(d *delivery) { s.hand.Release(d.parts) }

// tries reads how many tries of the message ended without a word, and when the last
// of them began.
func (s *suspects) tries(ctx context.Context, d *delivery) (int, time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	m, err := streams.Last(ctx, s.js, "KV_"+s.bucket, "$KV."+s.bucket+"."+s.key(d))
	switch {
	case errors.Is(err, streams.ErrNoMessage):
		return 0, time.Time{}, nil
	case err != nil:
		return 0, time.Time{}, fmt.Errorf("counting the tries of message %d of %s: %w", d.sequence, d.stream, err)
	}
	tries, _ := strconv.Atoi(string(m.Data)) // a deleted key has no data: 0
	return tries, m.Time, nil
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
