package control

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/streams"
)

const rollbackKey = "rollback"

// Rollback says that the bus lost its last writes, as the worker found that noticed it
// first. It has no end: what was stored before it stays in doubt until it is handled.
// The zero value is that none was noticed. It is a plain value.
type Rollback struct {
	// Count is 1 for the first that was noticed, and grows: a count below one that was
	// seen shows that the bucket lost this, too.
	Count int `json:"count"`
	// Ledger and Requests are how far those streams had come when it was noticed: what
	// they hold up to there was stored before.
	Ledger   streams.Extent `json:"ledger"`
	Requests streams.Extent `json:"requests"`
	// Worker noticed it.
	Worker string `json:"worker"`

	// At is when the server stored it: the bucket keeps it beside the value.
	At time.Time `json:"-"`
}

func rollbackOf(e entry) Rollback {
	var r Rollback
	if e.data == nil || json.Unmarshal(e.data, &r) != nil || r.Count < 0 {
		return Rollback{}
	}
	r.At = e.stored
	return r
}

// Rollback returns the last rollback that a worker of the fleet noticed, as the leader
// of the bucket has it.
func (b *Bucket) Rollback(ctx context.Context) (Rollback, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	e, err := b.read(ctx, rollbackKey)
	if err != nil {
		return Rollback{}, fmt.Errorf("reading the last rollback: %w", err)
	}
	return rollbackOf(e), nil
}

// TellRollback writes r for the fleet, unless one of its count or a later one is there:
// another worker was first. It returns the one that stands.
func (b *Bucket) TellRollback(ctx context.Context, r Rollback) (Rollback, error) {
	_, err := b.update(ctx, "the last rollback", rollbackKey, 0, func(last entry) any {
		if rollbackOf(last).Count >= r.Count {
			return nil
		}
		return r
	})
	if err != nil {
		return r, err
	}
	return b.Rollback(ctx)
}

// Lost reports whether the bucket no longer has the last presence that this worker
// wrote: its stream has gone back. A leader that was elected a moment ago may be behind:
// the caller asks again before it believes a loss.
func (b *Bucket) Lost(ctx context.Context) (bool, error) {
	own := b.ownRevision()
	if own == 0 {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	e, err := streams.ExtentOf(ctx, b.js, b.stream())
	if err != nil {
		return false, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	same := b.made.IsZero() || b.made.Equal(e.Made)
	b.made = e.Made
	return same && b.own == own && e.Last < own, nil
}

// Restart forgets the presence that was lost, and writes another one soon.
func (b *Bucket) Restart() {
	b.mu.Lock()
	b.own = 0
	b.mu.Unlock()
}

// AwaitOthers waits until every other worker that lived has said so again, which it does
// after its Handlers.Compare, or until it no longer counts as live.
func (b *Bucket) AwaitOthers(ctx context.Context) {
	b.mu.Lock()
	left := make(map[string]uint64, len(b.others)) // revisions that were there at first
	for _, id := range b.others {
		left[id] = 0
	}
	b.mu.Unlock()
	if len(left) == 0 {
		return
	}
	select {
	case b.nudge <- struct{}{}: // they may wait for this worker
	default:
	}
	for end := time.Now().Add(liveFor); len(left) > 0 && time.Now().Before(end); {
		for id, first := range left {
			e, err := b.read(ctx, workerPrefix+id)
			switch {
			case err != nil:
			case e.data == nil:
				left[id] = expired
			case first == 0:
				left[id] = e.revision
			case e.revision != first:
				delete(left, id)
			}
		}
		if len(left) > 0 && sleep(ctx, othersEvery) != nil {
			return
		}
	}
}

const (
	// othersEvery is how often AwaitOthers looks.
	othersEvery = 200 * time.Millisecond
	// expired stands for the revision of a presence that is not there: the server was away
	// for longer than it lasts.
	expired = math.MaxUint64
)
