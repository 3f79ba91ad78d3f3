package throttle

import (
	"context"
	"time"
)

// Opened takes in that a breaker is open for the fleet: by which opening, whose call
// the last canary was, and how long the next one has to wait.
func (b *Breakers) Opened(operation, ca, opening, producer string, next time.Duration) {
	defer b.news.drain()
	b.mu.Lock()
	defer b.mu.Unlock()
	key, br := b.of(Operation(operation), ca)
	now := time.Now()
	switch {
	case opening == "" || opening == br.ended: // news from before its end
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

// ClosedBy takes in that an opening was closed for the fleet. An empty opening is
// whichever stands: an operator closed the breaker.
func (b *Breakers) ClosedBy(operation, ca, opening string) {
	defer b.news.drain()
	b.mu.Lock()
	defer b.mu.Unlock()
	key, br := b.of(Operation(operation), ca)
	if br.state == Open && br.opening != "" && (opening == br.opening || opening == "") {
		b.end(key, br, true, time.Now())
	}
}

// Synced takes in that everything the fleet knows has been told by Opened and ClosedBy.
// What is open here is made known again, where the fleet has forgotten it.
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

// Run tells the fleet of openings and closings, until ctx is done. What fails is tried
// again.
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

// publishAll tells the fleet what it does not know yet, and reports whether that is all.
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
	// The end comes first: what opened again is another opening.
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
