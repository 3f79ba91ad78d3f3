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

// Rollback records that the bus lost its last writes, as the first worker to notice found
// it. A rollback has no end: messages stored before it stay in doubt until they are
// handled. The zero value means that no rollback was noticed. It is a plain value.
type Rollback struct {
	// Count is 1 for the first rollback and grows. A count below one seen earlier shows
	// that the bucket lost this record, too.
	Count int `json:"count"`
	// Ledger and Requests are the extents of those streams when the worker noticed the
	// rollback. Messages up to there were stored before it.
	Ledger   streams.Extent `json:"ledger"`
	Requests streams.Extent `json:"requests"`
	// Worker noticed the rollback.
	Worker string `json:"worker"`

	// At is when the server stored the record. It is the store time of the key, not a
	// part of the value.
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

// Rollback returns the last rollback that a worker of the fleet noticed. The bucket's
// leader answers.
func (b *Bucket) Rollback(ctx context.Context) (Rollback, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	e, err := b.read(ctx, rollbackKey)
	if err != nil {
		return Rollback{}, fmt.Errorf("reading the last rollback: %w", err)
	}
	return rollbackOf(e), nil
}

// TellRollback writes r for the fleet, unless the bucket has a rollback with the same or
// a higher count: another worker was first. It returns the rollback that the bucket then
// holds.
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

// Lost reports whether the bucket no longer has the last presence that this worker wrote:
// then its stream has gone back. A newly elected leader may be behind, so the caller asks
// again before it acts.
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

// Restart forgets the lost presence. Run writes another one soon.
func (b *Bucket) Restart() {
	b.mu.Lock()
	b.own = 0
	b.mu.Unlock()
}

// AwaitOthers waits for the other live workers. It returns when each has written its
// presence again, which it does after its Handlers.Compare, or no longer counts as live.
func (b *Bucket) AwaitOthers(ctx context.Context) {
	b.mu.Lock()
	left := make(map[string]uint64, len(b.others)) // revisions at the start
	for _, id := range b.others {
		left[id] = 0
	}
	b.mu.Unlock()
	if len(left) == 0 {
		return
	}
	select {
	case b.nudge <- struct{}{}: // the others may wait for this worker
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
	// othersEvery is the interval of AwaitOthers's checks.
	othersEvery = 200 * time.Millisecond
	// expired stands for the revision of an expired presence: the server was away for
	// longer than presenceTTL.
	expired = math.MaxUint64
)
