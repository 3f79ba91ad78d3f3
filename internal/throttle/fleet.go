package throttle

import (
	"context"
	"time"
)

// Opened records that a breaker is open for the fleet. It gets the name of the opening,
// the producer of the last canary, and the wait before the next canary.
func (b *Breakers) Opened(operation, ca, opening, producer string, next time.Duration) {
	defer b.news.drain()
	b.mu.Lock()
	defer b.mu.Unlock()
	key, br := b.of(Operation(operation), ca)
	now := time.Now()
	switch {
	case opening == "" || opening == br.ended: // an old report of an opening that has ended
		return
	case br.state == Open:
		br.adopt(opening, next, now)
		br.last = producer
	default:
		was := br.state
		br.open(opening, producer, errElsewhere, next, now)
		b.news.push(Change{Operation: key.operation, CA: key.ca, From: was, To: Open, Cause: errElsewhere, Remote: true})
	}
	b.changed.send()
}

// ClosedBy records that an opening ended for the fleet. An empty opening stands for the
// current one: an operator closed the breaker.
func (b *Breakers) ClosedBy(operation, ca, opening string) {
	defer b.news.drain()
	b.mu.Lock()
	defer b.mu.Unlock()
	key, br := b.of(Operation(operation), ca)
	if br.state == Open && br.opening != "" && (opening == br.opening || opening == "") {
		b.end(key, br, true, time.Now())
	}
}

// Synced records that Opened and ClosedBy have reported the whole state of the fleet.
// Breakers that are open here are then written to the bucket again if the bucket lost
// them.
func (b *Breakers) Synced() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, br := range b.all {
		br.check = br.state == Open
	}
	b.publish()
}

// publish wakes Run. Caller holds b.mu.
func (b *Breakers) publish() {
	select {
	case b.dirty <- struct{}{}:
	default:
	}
}

// Run tells the fleet of openings and closings until ctx ends. It repeats calls that
// fail.
func (b *Breakers) Run(ctx context.Context) {
	wait := firstRetry
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.dirty:
		}
		for !b.publishAll(ctx) {
			if sleep(ctx, wait) != nil {
				return
			}
			wait = min(2*wait, lastRetry)
		}
		wait = firstRetry
	}
}

// publishAll tells the fleet of every pending change, and reports whether all calls
// succeeded.
func (b *Breakers) publishAll(ctx context.Context) bool {
	b.mu.Lock()
	var keys []breakerKey
	for key, br := range b.all {
		if br.close != "" || br.state == Open && (br.opening == "" || br.check) {
			keys = append(keys, key)
		}
	}
	b.mu.Unlock()
	all := true
	for _, key := range keys {
		all = b.publishOne(ctx, key) && all
	}
	return all
}

func (b *Breakers) publishOne(ctx context.Context, key breakerKey) bool {
	ctx, cancel := context.WithTimeout(ctx, sharedTime)
	defer cancel()
	b.mu.Lock()
	br := b.all[key]
	ended := br.close
	b.mu.Unlock()
	// The end comes first: a breaker that opened again has a new opening.
	if ended != "" {
		if b.shared.CloseBreaker(ctx, string(key.operation), key.ca, ended) != nil {
			return false
		}
	}
	b.mu.Lock()
	if br.close == ended {
		br.close = ""
	}
	left := br.close != ""
	open, eased, epoch := br.state == Open && (br.opening == "" || br.check), br.eased, br.epoch
	cause := ""
	if br.cause != nil {
		cause = br.cause.Error()
	}
	b.mu.Unlock()
	if left || !open {
		return !left
	}
	opening, wait, err := b.shared.OpenBreaker(ctx, string(key.operation), key.ca, eased, cause)
	if err != nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if br.epoch == epoch {
		br.adopt(opening, wait, time.Now())
		b.changed.send()
	}
	return true
}
