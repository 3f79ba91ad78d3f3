package throttle

import (
	"errors"
	"math/bits"
	"time"
)

// Operation is a kind of call to the gateway that has breakers of its own.
type Operation string

// Operations of the gateway, each with breakers of its own.
const (
	Enroll Operation = "enroll"
	Poll   Operation = "poll"
	Revoke Operation = "revoke"
	Lookup Operation = "lookup"
)

// State says which calls a breaker admits.
type State int

const (
	// Closed lets every call through.
	Closed State = iota
	// Open lets one canary through per interval of the fleet.
	Open
	// HalfOpen admits 1, 2, 4, … calls at a time: twice as many after a step without a
	// bad answer, half as many after a bad answer. A bad answer at the first step opens
	// the breaker again.
	HalfOpen
)

// String returns the state in lower case, as metric labels carry it.
func (s State) String() string {
	switch s {
	case Open:
		return "open"
	case HalfOpen:
		return "half-open"
	}
	return "closed"
}

const (
	// A run of tripRun bad answers opens a breaker. So do tripBad bad answers (30 %)
	// among the last tripWindow.
	tripRun    = 5
	tripWindow = 20
	tripBad    = tripWindow * 30 / 100
	// activeFor is how long a producer counts as active after a call.
	activeFor = time.Minute
	// maxProducers bounds the producers that a breaker remembers.
	maxProducers = 64
	// firstSlow and maxSlow bound the interval between two calls of a slowed producer.
	firstSlow = time.Second
	maxSlow   = 5 * time.Minute
	// While other producers are active, a due canary skips the producer of the last
	// canary, for maxPassed calls or for passFor.
	maxPassed = 8
	passFor   = 5 * time.Second
	// rampLast is the last step of a ramp-up. A ramp-up ends earlier, at rampSoon or
	// above, if it refused no call in its last step.
	rampLast = 256
	rampSoon = 8
	// Taking a canary's permit doubles the interval. A good canary undoes this doubling,
	// so only bad canaries lengthen the interval.
	easedByCanary = 1
	// easedAll exceeds the number of times that an interval can double.
	easedAll = 64
	// retryIn is the wait that a refused call gets if the breaker knows no better one.
	retryIn = time.Second
)

var (
	errElsewhere = errors.New("another worker opened the breaker")
	errSlowed    = errors.New("the gateway fails this producer's calls, but not the calls of other producers")
)

// breaker is the breaker of one operation of one CA. It reads no clock and has no lock:
// Breakers passes the time and holds the lock.
type breaker struct {
	state State
	// epoch changes when the breaker opens and when an opening ends. The breaker ignores
	// results of an earlier epoch.
	epoch     uint64
	cause     error
	since     time.Time // start of this outage's first opening
	producers map[string]*producer

	// While closed.
	recent  [tripWindow]answer
	answers int
	run     int    // consecutive bad answers
	runOf   string // producer of the first of them
	several bool   // they come from two producers or more

	// While open.
	opening string    // its name in the fleet; empty: not written yet
	eased   int       // doublings of the interval that good answers before it undo
	check   bool      // the bucket may have lost it
	asking  bool      // a request for a permit is in flight
	due     time.Time // time of the next canary
	last    string    // producer of the last canary
	passed  int       // calls of that producer that were skipped

	// While half-open.
	step, inFlight, good int
	refused              bool

	ended string // the opening that ended last
	close string // the opening whose end the bucket does not have yet
}

// answer is one answer of the gateway.
type answer struct {
	bad      bool
	producer string
}

// producer is the record that a breaker keeps of a producer.
type producer struct {
	seen time.Time
	run  int           // its own consecutive bad answers
	slow time.Duration // interval between its calls while they are slowed; 0: not slowed
	next time.Time
}

// saw notes a call of a producer and returns the producer's record.
func (b *breaker) saw(name string, now time.Time) *producer {
	p := b.producers[name]
	if p == nil {
		if len(b.producers) >= maxProducers {
			oldest := ""
			for n, o := range b.producers {
				if oldest == "" || o.seen.Before(b.producers[oldest].seen) {
					oldest = n
				}
			}
			delete(b.producers, oldest)
		}
		p = new(producer)
		b.producers[name] = p
	}
	p.seen = now
	return p
}

// others reports whether a producer other than name is active.
func (b *breaker) others(name string, now time.Time) bool {
	for n, p := range b.producers {
		if n != name && now.Sub(p.seen) < activeFor {
			return true
		}
	}
	return false
}

// decision is the result of admit.
type decision int

const (
	pass decision = iota
	passAsCanary
	refuse
)

// admit decides about a call of a producer. A refused call gets the time to wait. A
// canary still needs the fleet's permit.
func (b *breaker) admit(name string, now time.Time) (d decision, wait time.Duration) {
	p := b.saw(name, now)
	switch b.state {
	case Open:
		switch {
		case b.room(now) == 0:
			return refuse, max(retryIn, b.due.Sub(now))
		case name == b.last && b.passed < maxPassed && now.Before(b.due.Add(passFor)) && b.others(name, now):
			b.passed++
			return refuse, retryIn
		}
		return passAsCanary, 0
	case HalfOpen:
		if b.inFlight >= b.step {
			b.refused = true
			return refuse, retryIn
		}
	}
	if p.slow > 0 {
		if now.Before(p.next) {
			return refuse, p.next.Sub(now)
		}
		p.slow = min(2*p.slow, maxSlow)
		p.next = now.Add(p.slow)
	}
	if b.state == HalfOpen {
		b.inFlight++
	}
	return pass, 0
}

// room returns how many calls may be admitted.
func (b *breaker) room(now time.Time) int {
	switch b.state {
	case Open:
		if b.opening == "" || b.asking || now.Before(b.due) {
			return 0
		}
		return 1
	case HalfOpen:
		return max(0, b.step-b.inFlight)
	}
	return unlimited
}

// goodAnswer counts a good answer of this epoch. slowed says that the answer ends the
// slowing of its producer.
func (b *breaker) goodAnswer(name string, now time.Time) (slowed bool) {
	p := b.saw(name, now)
	slowed = p.slow > 0
	p.run, p.slow = 0, 0
	switch b.state {
	case Closed:
		b.run = 0
		b.keep(answer{producer: name})
	case HalfOpen:
		b.inFlight--
		if b.good++; b.good < b.step {
			break
		}
		if b.step >= rampLast || b.step >= rampSoon && !b.refused {
			b.state = Closed
			break
		}
		b.step, b.good, b.refused = 2*b.step, 0, false
		b.eased = max(b.eased, easedByCanary+bits.Len(uint(b.step))-1)
	}
	return slowed
}

// badAnswer counts a bad answer of this epoch. trip says that the breaker must open.
// slowed says that from now on only this producer's calls are slowed. wasSlowed marks a
// call of a slowed producer: its answer counts against that producer alone.
func (b *breaker) badAnswer(name string, wasSlowed bool, now time.Time) (trip, slowed bool) {
	p := b.saw(name, now)
	others := b.others(name, now)
	if b.state == HalfOpen {
		b.inFlight--
	}
	if wasSlowed && others {
		return false, false
	}
	p.run++
	switch {
	case b.state == HalfOpen && b.step > 1:
		b.step, b.good, b.refused = b.step/2, 0, false
	case b.state == Closed:
		if b.run == 0 {
			b.runOf, b.several = name, false
		}
		b.run++
		b.several = b.several || name != b.runOf
		b.keep(answer{true, name})
		trip = b.run >= tripRun && (b.several || !others) || b.tooMany(others)
	default:
		trip = true
	}
	// A producer whose calls alone are bad must not open the breaker for the others. Its
	// backlog must not go through either: each call could end an order, and in a ramp-up
	// it would open the breaker again and again.
	if p.run >= tripRun && others && p.slow == 0 && (!trip || b.state == HalfOpen) {
		p.slow, p.next = firstSlow, now.Add(firstSlow)
		slowed = true
	}
	return trip, slowed
}

func (b *breaker) keep(a answer) {
	b.recent[b.answers%tripWindow] = a
	b.answers++
}

// tooMany reports whether tripBad of the last answers are bad. While other producers are
// active, the bad answers must belong to two producers or more.
func (b *breaker) tooMany(others bool) bool {
	if b.answers < tripWindow {
		return false
	}
	bad, first, several := 0, "", false
	for _, a := range b.recent {
		if !a.bad {
			continue
		}
		if bad++; bad == 1 {
			first = a.producer
		}
		several = several || a.producer != first
	}
	return bad >= tripBad && (several || !others)
}

// open opens the breaker. An empty opening is not written to the bucket yet.
func (b *breaker) open(opening, last string, cause error, wait time.Duration, now time.Time) {
	if b.state == Closed {
		b.since = now
	}
	if b.state == Closed {
		b.eased = easedAll
	}
	b.state, b.cause = Open, cause
	b.epoch++
	b.opening, b.check, b.asking = opening, false, false
	b.due, b.last, b.passed = now.Add(wait), last, 0
}

// adopt takes over the bucket's record of an open breaker.
func (b *breaker) adopt(opening string, wait time.Duration, now time.Time) {
	b.opening, b.check = opening, false
	b.due, b.passed = now.Add(wait), 0
}

// end ends the opening and begins the ramp-up.
func (b *breaker) end() {
	b.ended = b.opening
	b.state, b.opening = HalfOpen, ""
	b.epoch++
	b.step, b.inFlight, b.good, b.refused, b.eased = 1, 0, 0, false, easedByCanary
	b.run, b.answers = 0, 0
}
