package consumer

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	holdKey      = "hold"    // until when nobody may call the gateway, RFC 3339
	workerPrefix = "worker." // one key for each live worker
	presenceBeat = 5 * time.Second
	presenceTTL  = 3 * presenceBeat
	// markerTTL is how long the server keeps the mark of a key that was removed.
	markerTTL = time.Minute
)

// fleet is what the workers tell each other through the control bucket: until
// when the gateway asked all of them to wait, and how many they are.
type fleet struct {
	js        jetstream.JetStream
	bucket    string
	id        string
	rate      float64 // of this worker
	fleetRate float64 // of all of them
	gate      *gate
	log       *slog.Logger
}

func newFleet(js jetstream.JetStream, bucket, id string, rate, fleetRate float64, g *gate, log *slog.Logger) *fleet {
	f := &fleet{js: js, bucket: bucket, id: id, rate: rate, fleetRate: fleetRate, gate: g, log: log}
	f.share(1) // until the others are seen, and where they never are
	return f
}

// hold pauses this worker at once, and every other one as soon as it sees the
// key. What cannot be shared is still held here.
func (f *fleet) hold(ctx context.Context, wait time.Duration) error {
	until := time.Now().Add(wait)
	f.gate.holdUntil(until)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ackTimeout)
	defer cancel()
	kv, err := f.js.KeyValue(ctx, f.bucket)
	if err != nil {
		return fmt.Errorf("sharing a pause: %w", err)
	}
	if e, err := kv.Get(ctx, holdKey); err == nil {
		if t, err := time.Parse(time.RFC3339Nano, string(e.Value())); err == nil && !until.After(t) {
			return nil
		}
	}
	if _, err := kv.PutString(ctx, holdKey, until.UTC().Format(time.RFC3339Nano)); err != nil {
		return fmt.Errorf("sharing a pause: %w", err)
	}
	return nil
}

// run watches the bucket and says that this worker lives, until ctx is done.
func (f *fleet) run(ctx context.Context) {
	pause := backoff{first: time.Second, max: 30 * time.Second}
	for ctx.Err() == nil {
		err := f.watch(ctx, &pause)
		if ctx.Err() != nil {
			break
		}
		wait := pause.next()
		f.log.Warn("watching the control bucket; trying again", "bucket", f.bucket, "wait", wait, "err", err)
		if sleep(ctx, wait) != nil {
			break
		}
	}
	// A worker that leaves makes room in the fleet's rate at once.
	leave, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if kv, err := f.js.KeyValue(leave, f.bucket); err == nil {
		_ = kv.Purge(leave, workerPrefix+f.id, jetstream.PurgeTTL(markerTTL))
	}
}

func (f *fleet) watch(ctx context.Context, pause *backoff) error {
	open, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	kv, err := f.js.KeyValue(open, f.bucket)
	if err != nil {
		return fmt.Errorf("opening the control bucket: %w", err)
	}
	w, err := kv.WatchFiltered(ctx, []string{holdKey, workerPrefix + "*"})
	if err != nil {
		return fmt.Errorf("watching the control bucket: %w", err)
	}
	defer w.Stop()
	pause.reset()
	seen := map[string]time.Time{f.id: time.Now()}
	beat := time.NewTicker(presenceBeat)
	defer beat.Stop()
	if err := f.appear(ctx, kv); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-beat.C:
			if err := f.appear(ctx, kv); err != nil {
				return err
			}
			f.forget(ctx, kv, seen)
			f.share(len(seen))
		case e, ok := <-w.Updates():
			if !ok {
				return fmt.Errorf("watching the control bucket: the watch ended")
			}
			if e == nil {
				continue
			}
			if id, ok := strings.CutPrefix(e.Key(), workerPrefix); ok {
				if e.Operation() == jetstream.KeyValuePut {
					seen[id] = time.Now()
				} else if id != f.id { // we live, whoever removes our key
					delete(seen, id)
				}
				f.share(len(seen))
			} else if t, err := time.Parse(time.RFC3339Nano, string(e.Value())); err == nil {
				f.gate.holdUntil(t)
			}
		}
	}
}

// appear says that this worker lives.
func (f *fleet) appear(ctx context.Context, kv jetstream.KeyValue) error {
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	if _, err := kv.PutString(ctx, workerPrefix+f.id, time.Now().UTC().Format(time.RFC3339Nano)); err != nil {
		return fmt.Errorf("writing this worker's presence: %w", err)
	}
	return nil
}

// forget drops workers that have been silent for too long, and their keys.
func (f *fleet) forget(ctx context.Context, kv jetstream.KeyValue, seen map[string]time.Time) {
	for id, t := range seen {
		if id == f.id || time.Since(t) < presenceTTL {
			continue
		}
		delete(seen, id)
		// Another worker may be faster, and a failure is made up for by the next
		// worker that starts: nothing rests on a key that stays.
		_ = kv.Purge(ctx, workerPrefix+id, jetstream.PurgeTTL(markerTTL))
	}
}

// share sets this worker's part of the fleet's rate. The parts are equal: a
// worker that is idle leaves its part unused, and the gateway is never asked
// for more than the whole.
func (f *fleet) share(workers int) {
	if f.fleetRate <= 0 {
		return
	}
	part := f.fleetRate / float64(max(1, workers))
	if f.rate > 0 {
		part = min(part, f.rate)
	}
	f.gate.setRate(part)
}
