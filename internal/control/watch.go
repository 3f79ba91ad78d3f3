package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	workerPrefix = "worker." // one key for each live worker
	beat         = 5 * time.Second
	// liveFor is how long a worker counts as live without a new revision of its key.
	liveFor = 3 * beat
	// presenceTTL is how long the server keeps the key of a worker that died.
	presenceTTL = time.Minute
	// clockEvery is the interval between measurements of the server's time.
	clockEvery = time.Minute

	firstRetry = time.Second
	lastRetry  = 30 * time.Second
	leaveTime  = time.Second
)

// Handlers receive the writes of this and other workers. Each may be nil. Run calls them
// one at a time from its own goroutine; they must not block. The same report may come
// again. After the bucket was away, all reports come again.
type Handlers struct {
	// Workers receives the number of live workers, this one included, when it changes.
	Workers func(live int)
	// Paused receives a pause that lasts for left from now.
	Paused func(left time.Duration)
	// PauseEnded is called when an operator or the server removed the pause.
	PauseEnded func()
	// BreakerOpened receives an open breaker: the name of the opening, the producer of
	// the last canary (empty if none), and the wait before the next canary.
	BreakerOpened func(operation, ca, opening, producer string, next time.Duration)
	// BreakerClosed receives a closed opening. opening is empty if an operator removed
	// the key.
	BreakerClosed func(operation, ca, opening string)
	// Suspended receives all suspensions in force, oldest first: once before Synced, and
	// at each change. If the bucket is missing from the start, it receives none.
	Suspended func(all []Suspension)
	// Synced is called when the handlers have received everything in the bucket. The
	// bucket does not know a breaker that they have not received by then.
	Synced func()
	// Compare runs before this worker writes its presence, to find out whether the bus
	// lost writes. If it returns an error, the worker does not write its presence this
	// time. Compare may take a few seconds.
	Compare func(context.Context) error
}

// Workers returns the number of live workers, this one included; 1 before Run has seen
// others. While the bucket cannot be watched, it is the last number seen.
func (b *Bucket) Workers() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.live
}

// Run writes this worker's presence, measures the clock and calls h until ctx ends. It
// then removes the presence. While the bucket is missing or no server answers, Run tries
// again at intervals of up to 30 s. Call it once.
func (b *Bucket) Run(ctx context.Context, h Handlers) {
	seen, knows := beats{}, false
	for wait := firstRetry; ctx.Err() == nil; wait = min(2*wait, lastRetry) {
		synced := false
		err := b.watch(ctx, h, seen, &synced)
		if ctx.Err() != nil {
			break
		}
		if synced {
			wait, knows = firstRetry, true
		}
		if !knows && errors.Is(err, jetstream.ErrBucketNotFound) {
			// There is no bucket, so there are no suspensions. If the bucket is deleted
			// later, the suspensions seen so far stay in force.
			tellSuspensions(nil, h)
			knows = true
		}
		b.log.Warn("watching the control bucket failed; other workers' pauses, suspensions and breakers are not seen until it succeeds",
			"bucket", b.bucket, "wait", wait, "err", err)
		_ = sleep(ctx, wait)
	}
	b.leave(context.WithoutCancel(ctx))
}

// watch follows the bucket until an operation fails.
func (b *Bucket) watch(ctx context.Context, h Handlers, seen beats, synced *bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // the watch's consumer ends with it
	lookup, done := context.WithTimeout(ctx, callTime)
	kv, err := b.js.KeyValue(lookup, b.bucket)
	done()
	if err != nil {
		return fmt.Errorf("opening the bucket: %w", err)
	}
	// Not watched: counts of poison messages. The worker that has the message reads them.
	w, err := kv.WatchFiltered(ctx, []string{workerPrefix + "*", b.pause, suspensionPrefix + ">", breakerPrefix + ">", scanPrefix + "*"})
	if err != nil {
		return fmt.Errorf("watching the bucket: %w", err)
	}
	defer w.Stop()
	seen.refresh(time.Now())
	ticks := time.NewTicker(beat)
	defer ticks.Stop()
	if err := b.compareAndAppear(ctx, h, seen); err != nil {
		return err
	}
	var shown uint64                     // revision of this worker's presence that the watch delivered last
	suspended := map[string]Suspension{} // by key, as this watch showed them
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticks.C:
			// A watch whose consumer or bucket is gone stays silent for ever. The watch
			// must deliver this worker's own writes.
			if shown != b.ownRevision() {
				return errors.New("watching the bucket: the watch did not show this worker's own presence")
			}
			if err := b.compareAndAppear(ctx, h, seen); err != nil {
				return err
			}
			b.count(seen, h)
		case <-b.nudge:
			if err := b.compareAndAppear(ctx, h, seen); err != nil {
				return err
			}
		case e, ok := <-w.Updates():
			switch {
			case !ok:
				return errors.New("watching the bucket: the watch ended")
			case e == nil:
				*synced = true
				b.count(seen, h)
				tellSuspensions(suspended, h)
				if h.Synced != nil {
					h.Synced()
				}
				continue
			case e.Key() == workerPrefix+token(b.worker):
				shown = e.Revision()
			}
			if id, ok := strings.CutPrefix(e.Key(), workerPrefix); ok {
				seen.saw(id, e.Revision(), e.Operation(), time.Now())
				if *synced {
					b.count(seen, h)
				}
				continue
			}
			if strings.HasPrefix(e.Key(), suspensionPrefix) {
				b.sawSuspension(suspended, e.Key(), b.entryOf(e))
				if *synced {
					tellSuspensions(suspended, h)
				}
				continue
			}
			b.tell(e, h)
		}
	}
}

// entryOf converts a value that the watch delivered.
func (b *Bucket) entryOf(kve jetstream.KeyValueEntry) entry {
	e := entry{revision: kve.Revision(), stored: kve.Created(), age: b.age(kve.Key(), kve.Revision(), kve.Created())}
	if kve.Operation() == jetstream.KeyValuePut {
		e.data = kve.Value()
	}
	return e
}

// tell passes a write to its handler.
func (b *Bucket) tell(kve jetstream.KeyValueEntry, h Handlers) {
	key, e := kve.Key(), b.entryOf(kve)
	if name, ok := strings.CutPrefix(key, scanPrefix); ok {
		b.sawScan(name, e)
		return
	}
	if key == b.pause {
		if left := pauseLeft(e.data, e.age); left > 0 && h.Paused != nil {
			h.Paused(left)
		} else if e.data == nil && h.PauseEnded != nil {
			h.PauseEnded()
		}
		return
	}
	operation, ca, _ := strings.Cut(strings.TrimPrefix(key, breakerPrefix), ".")
	r, ok := breakerOf(key, e.data)
	switch {
	case ok && r.State == open:
		b.remember(ca, r.CA)
		if h.BreakerOpened != nil {
			h.BreakerOpened(operation, r.CA, r.Opening, r.Producer, max(0, time.Duration(r.Interval)-e.age))
		}
	case ok:
		if h.BreakerClosed != nil {
			h.BreakerClosed(operation, r.CA, r.Opening)
		}
	case e.data == nil:
		b.mu.Lock()
		name, known := b.cas[ca]
		b.mu.Unlock()
		if known && h.BreakerClosed != nil {
			h.BreakerClosed(operation, name, "")
		}
	default:
		b.log.Debug("a breaker's key in the control bucket holds a value that no worker wrote", "key", key)
	}
}

// compareAndAppear writes this worker's presence, unless Compare fails.
func (b *Bucket) compareAndAppear(ctx context.Context, h Handlers, seen beats) error {
	if h.Compare != nil {
		if err := h.Compare(ctx); err != nil {
			b.log.DebugContext(ctx, "comparing the bus with the acknowledged writes failed; the presence is not written", "err", err)
			return nil
		}
	}
	if err := b.appear(ctx); err != nil {
		return err
	}
	if b.silent() {
		seen.refresh(time.Now())
	}
	b.appeared = time.Now()
	return nil
}

// silent reports whether this worker could not write its presence for a while. Then other
// workers could not either, so their silence shows nothing.
func (b *Bucket) silent() bool { return time.Since(b.appeared) > 2*beat }

// appear writes this worker's presence, and measures the clock with it once per
// clockEvery.
func (b *Bucket) appear(ctx context.Context) error {
	const what = "this worker's presence"
	key := workerPrefix + token(b.worker)
	data, err := json.Marshal(b.presence())
	if err != nil {
		return fmt.Errorf("encoding %s: %w", what, err)
	}
	after, sent := b.ownRevision(), time.Now()
	revision, err := b.write(ctx, key, after, data, presenceTTL)
	if errors.Is(err, ErrConflict) { // removed, expired, or the bucket was made again
		revision, err = b.update(ctx, what, key, presenceTTL, func(entry) any {
			sent = time.Now()
			return json.RawMessage(data)
		})
	}
	acked := time.Now()
	if err != nil {
		return fmt.Errorf("writing %s: %w", what, err)
	}
	b.mu.Lock()
	b.own = revision
	measure := b.timed.IsZero() || acked.Sub(b.timed) >= clockEvery
	b.mu.Unlock()
	if !measure {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	e, err := b.read(ctx, key)
	if err != nil {
		return fmt.Errorf("reading %s: %w", what, err)
	}
	if e.revision == revision {
		b.took(sent, acked, e.stored)
	}
	return nil
}

// leave removes this worker's presence, so that the others share the rate at once. If the
// removal fails, the presence expires.
func (b *Bucket) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, leaveTime)
	defer cancel()
	own := b.ownRevision()
	if own == 0 {
		return
	}
	if _, err := b.write(ctx, workerPrefix+token(b.worker), own, nil, 0); err != nil {
		b.log.DebugContext(ctx, "removing this worker's presence failed; it expires by itself", "err", err)
	}
}

func (b *Bucket) ownRevision() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.own
}

// count passes on the number of live workers if it changed. It keeps the number while
// this worker is silent.
func (b *Bucket) count(seen beats, h Handlers) {
	if b.silent() {
		return
	}
	seen.saw(token(b.worker), b.ownRevision(), jetstream.KeyValuePut, time.Now()) // this worker lives, even if the bucket lost its presence
	live := seen.live(time.Now())
	b.mu.Lock()
	changed := live != b.live
	b.live = live
	b.others = b.others[:0:0]
	for id := range seen {
		if id != token(b.worker) {
			b.others = append(b.others, id)
		}
	}
	b.mu.Unlock()
	if changed && h.Workers != nil {
		h.Workers(live)
	}
}

// beats holds when each worker's key last changed, on this worker's clock.
type beats map[string]beatSeen

type beatSeen struct {
	revision uint64
	at       time.Time
}

// saw records a change of a worker's key. An expired key does not show that its worker
// left: the server may have been away that long.
func (p beats) saw(id string, revision uint64, op jetstream.KeyValueOp, now time.Time) {
	switch {
	case op == jetstream.KeyValueDelete:
		delete(p, id)
	case op == jetstream.KeyValuePut && p[id].revision != revision:
		p[id] = beatSeen{revision, now}
	}
}

// refresh restarts every worker's time. While the bucket was away no worker could write,
// and each worker would otherwise take the whole rate.
func (p beats) refresh(now time.Time) {
	for id, b := range p {
		p[id] = beatSeen{b.revision, now}
	}
}

// live drops the workers that were silent for liveFor, and returns how many remain.
func (p beats) live(now time.Time) int {
	for id, b := range p {
		if now.Sub(b.at) >= liveFor {
			delete(p, id)
		}
	}
	return max(1, len(p))
}
