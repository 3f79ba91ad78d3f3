package consumer

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// dutyKey holds the watchdog's lease: how long it holds, and the worker whose it is.
const dutyKey = "watchdog"

var errDutyLost = errors.New("another worker took the watchdog's duty")

// duty is the lease of the one worker of the fleet that looks for lost slots, in
// the control bucket. It counts from when the server stored it, so that a holder
// whose clock is wrong misleads nobody. It is written by compare-and-set only.
type duty struct {
	js     jetstream.JetStream
	bucket string
	id     string // of this worker
}

// take makes the duty ours for that long, or tells for how long it is another's.
// What is ours may be taken again, which also knows a write again whose
// acknowledgement was lost.
func (d *duty) take(ctx context.Context, hold time.Duration) (mine bool, wait time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	subject := "$KV." + d.bucket + "." + dutyKey
	m, err := streams.Last(ctx, d.js, "KV_"+d.bucket, subject)
	if errors.Is(err, streams.ErrNoMessage) {
		m, err = new(streams.Message), nil
	}
	if err != nil {
		return false, 0, fmt.Errorf("reading the watchdog's lease: %w", err)
	}
	if wait := d.others(m, time.Now()); wait > 0 {
		return false, wait, nil
	}
	_, err = d.js.PublishMsg(ctx, &nats.Msg{Subject: subject, Data: []byte(hold.String() + " " + d.id), Header: nats.Header{
		jetstream.ExpectedLastSubjSeqHeader: {strconv.FormatUint(m.Sequence, 10)},
	}})
	switch {
	case streams.IsConflict(err):
		return false, hold, nil // another worker was faster
	case err != nil:
		return false, 0, fmt.Errorf("writing the watchdog's lease: %w", err)
	}
	return true, 0, nil
}

// others returns for how long the duty is another worker's. One from a future that
// is further away than the lease is long says that our own clock is wrong: two that
// look are better than none.
func (d *duty) others(m *streams.Message, now time.Time) time.Duration {
	text, id, _ := strings.Cut(string(m.Data), " ")
	hold, err := time.ParseDuration(text)
	age := now.Sub(m.Time)
	if err != nil || id == d.id || age < -hold {
		return 0
	}
	return max(0, hold-age)
}

// keep holds the duty until ctx ends. It ends ctx, by lost, when another worker
// took it, or when it could not be renewed for as long as it holds.
func (d *duty) keep(ctx context.Context, hold time.Duration, lost context.CancelCauseFunc) {
	for end := time.Now().Add(hold); sleep(ctx, hold/4) == nil; {
		asked := time.Now()
		switch mine, _, err := d.take(ctx, hold); {
		case mine:
			end = asked.Add(hold)
		case err == nil:
			lost(errDutyLost)
			return
		case time.Now().After(end):
			lost(fmt.Errorf("%w, or could: %w", errDutyLost, err))
			return
		}
	}
}

// leave gives the duty back when the worker stops, so that the next one to start
// need not wait for its end.
func (d *duty) leave(ctx context.Context) error {
	_, _, err := d.take(ctx, 0)
	return err
}
