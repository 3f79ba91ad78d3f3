package control

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/nats-io/nuid"
)

const (
	breakerPrefix = "breaker." // breaker.<operation>.<token of the CA>
	// FirstInterval and MaxInterval bound the interval between two canaries of the fleet.
	FirstInterval = time.Second
	MaxInterval   = 5 * time.Minute
	// FirstInterval doubled this often reaches MaxInterval.
	doublings = 9

	open, closed = "open", "closed"
)

// breakerRecord is the value of a breaker's key. Its age counts from the opening, or from
// the last canary.
type breakerRecord struct {
	State    string   `json:"state"`
	CA       string   `json:"ca"`
	Opening  string   `json:"opening"` // name of the opening, until it is closed
	Number   int      `json:"number"`  // canaries since the first opening of the outage
	Interval duration `json:"interval"`
	Producer string   `json:"producer,omitempty"` // of the last canary
	Worker   string   `json:"worker"`             // writer of this record
	// Lasted is how long the breaker had been open at this write; nil if an older worker
	// opened it. Cause is the last bad answer of the opening.
	Lasted *duration `json:"lasted,omitempty"`
	Cause  string    `json:"cause,omitempty"`
}

// breakerOf decodes the value of a breaker's key. It returns false for a value that no
// worker wrote. The interval is always within its bounds.
func breakerOf(key string, data []byte) (breakerRecord, bool) {
	var r breakerRecord
	if data == nil || json.Unmarshal(data, &r) != nil || r.Opening == "" || r.State != open && r.State != closed {
		return breakerRecord{}, false
	}
	if _, ca, _ := strings.Cut(strings.TrimPrefix(key, breakerPrefix), "."); ca != token(r.CA) {
		return breakerRecord{}, false
	}
	r.Number = max(0, r.Number)
	r.Interval = duration(min(max(time.Duration(r.Interval), FirstInterval), MaxInterval))
	return r, true
}

// intervalOf returns the interval between the n-th canary and the next one. The opening
// counts as canary 0.
func intervalOf(n int) time.Duration {
	return min(FirstInterval<<min(n, doublings), MaxInterval)
}

// breakerKey returns the key of a breaker, and remembers which CA the key's token stands
// for.
func (b *Bucket) breakerKey(operation, ca string) string {
	t := token(ca)
	b.remember(t, ca)
	return breakerPrefix + token(operation) + "." + t
}

func (b *Bucket) remember(token, ca string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.cas) < maxSights {
		b.cas[token] = ca
	}
}

// OpenBreaker opens the breaker of an operation of a CA for the fleet, or finds it open.
// cause is the last bad answer, for operators. OpenBreaker returns the name of the
// opening, and the wait before the next canary. The interval continues from the last
// opening's, halved eased times but not below FirstInterval. So a gateway that answers
// only a few calls badly is asked more often than every MaxInterval. A gateway that never
// completes a ramp-up is asked every MaxInterval.
func (b *Bucket) OpenBreaker(ctx context.Context, operation, ca string, eased int, cause string) (opening string, wait time.Duration, err error) {
	key := b.breakerKey(operation, ca)
	_, err = b.update(ctx, "the breaker of "+operation, key, 0, func(last entry) any {
		r, known := breakerOf(key, last.data)
		if known && r.State == open {
			opening, wait = r.Opening, max(0, time.Duration(r.Interval)-last.age)
			return nil
		}
		next := b.opened(ca, max(0, min(r.Number, doublings)-eased), cause)
		opening, wait = next.Opening, time.Duration(next.Interval)
		return next
	})
	return opening, wait, err
}

func (b *Bucket) opened(ca string, number int, cause string) breakerRecord {
	return breakerRecord{
		State: open, CA: ca, Opening: nuid.Next(), Number: number, Interval: duration(intervalOf(number)),
		Worker: b.worker, Lasted: new(duration), Cause: oneLine(cause),
	}
}

// TakeCanary asks for the fleet's permit for one call on an open breaker. If it is taken,
// next is the wait before the following canary. If not, next is the wait before the
// permit is free. A next of 0 then means that the breaker, last opened as opening, is
// closed in the bucket. If the bucket does not know the breaker because it was made
// again, TakeCanary writes the breaker first and gives no permit.
//
// After an error the permit may have been taken: the caller makes no call, and the next
// canary follows after one interval.
func (b *Bucket) TakeCanary(ctx context.Context, operation, ca, producer string) (taken bool, opening string, next time.Duration, err error) {
	key := b.breakerKey(operation, ca)
	_, err = b.update(ctx, "the canary permit of "+operation, key, 0, func(last entry) any {
		r, known := breakerOf(key, last.data)
		taken = false
		switch wait := time.Duration(r.Interval) - last.age; {
		case !known:
			r = b.opened(ca, 0, "")
		case r.State == closed:
			opening, next = r.Opening, 0
			return nil
		case wait > 0:
			opening, next = r.Opening, wait
			return nil
		default:
			taken = true
			r.Number++
			r.Interval, r.Producer, r.Worker = duration(intervalOf(r.Number)), producer, b.worker
			if r.Lasted != nil {
				*r.Lasted += duration(last.age)
			}
		}
		opening, next = r.Opening, time.Duration(r.Interval)
		return r
	})
	return taken && err == nil, opening, next, err
}

// CloseBreaker closes an opening for the fleet. It does nothing if the breaker has been
// closed, or opened again, since.
func (b *Bucket) CloseBreaker(ctx context.Context, operation, ca, opening string) error {
	key := b.breakerKey(operation, ca)
	_, err := b.update(ctx, "the breaker of "+operation, key, 0, func(last entry) any {
		r, known := breakerOf(key, last.data)
		if !known || r.State != open || r.Opening != opening {
			return nil
		}
		r.State, r.Worker = closed, b.worker
		return r
	})
	return err
}
