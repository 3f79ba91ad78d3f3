package throttle

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

var errDown = errors.New("500 Internal Server Error")

// fleet is a control bucket in memory: the same rules without a bus. It tells every
// worker what any of them writes.
type fleet struct {
	mu      sync.Mutex
	records map[string]*record
	workers []*Breakers
	lost    bool // every call fails
	deaf    bool // workers do not see writes
	slow    time.Duration
	asked   int // requests for a permit
	permits int // permits given
	named   int
}

type record struct {
	open     bool
	opening  string
	number   int
	at       time.Time
	producer string
}

// set changes the behaviour of the fleet.
func (f *fleet) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// record returns the record of a breaker.
func (f *fleet) record(key string) record {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r := f.records[key]; r != nil {
		return *r
	}
	return record{}
}

var errLost = errors.New("no stream answers")

func (r *record) interval() time.Duration { return min(time.Second<<min(r.number, 20), 5*time.Minute) }

// change runs do on a record and tells the workers when it reports a write.
func (f *fleet) change(operation, ca string, do func(r *record) bool) error {
	f.mu.Lock()
	if f.lost {
		f.mu.Unlock()
		return errLost
	}
	key := operation + " " + ca
	r := f.records[key]
	if r == nil {
		r = new(record)
		if f.records == nil {
			f.records = map[string]*record{}
		}
		f.records[key] = r
	}
	wrote := do(r)
	now := *r
	if f.deaf {
		wrote = false
	}
	f.mu.Unlock()
	if wrote {
		for _, w := range f.workers {
			f.tell(w, operation, ca, now)
		}
	}
	return nil
}

func (f *fleet) tell(w *Breakers, operation, ca string, r record) {
	switch {
	case r.opening == "":
	case r.open:
		w.Opened(operation, ca, r.opening, r.producer, max(0, r.interval()-time.Since(r.at)))
	default:
		w.ClosedBy(operation, ca, r.opening)
	}
}

func (f *fleet) begin(r *record, number int) {
	f.named++
	*r = record{open: true, opening: fmt.Sprint("opening-", f.named), number: number, at: time.Now()}
}

func (f *fleet) OpenBreaker(_ context.Context, operation, ca string, eased int, _ string) (opening string, wait time.Duration, err error) {
	err = f.change(operation, ca, func(r *record) (wrote bool) {
		if !r.open {
			f.begin(r, max(0, r.number-eased))
			wrote = true
		}
		opening, wait = r.opening, max(0, r.interval()-time.Since(r.at))
		return wrote
	})
	return opening, wait, err
}

func (f *fleet) TakeCanary(_ context.Context, operation, ca, producer string) (taken bool, opening string, next time.Duration, err error) {
	f.set(func() { f.asked++ })
	time.Sleep(f.slow)
	err = f.change(operation, ca, func(r *record) bool {
		switch {
		case r.opening == "":
			f.begin(r, 0)
		case !r.open:
			opening = r.opening
			return false
		case time.Since(r.at) < r.interval():
			opening, next = r.opening, r.interval()-time.Since(r.at)
			return false
		default:
			taken = true
			f.permits++
			r.number++
			r.at, r.producer = time.Now(), producer
		}
		opening, next = r.opening, r.interval()
		return true
	})
	return taken, opening, next, err
}

func (f *fleet) CloseBreaker(_ context.Context, operation, ca, opening string) error {
	return f.change(operation, ca, func(r *record) bool {
		if !r.open || r.opening != opening {
			return false
		}
		r.open = false
		return true
	})
}

// worker is one worker of a fleet.
type worker struct {
	*Breakers
	prober  *Prober
	stops   *Stops
	changes []Change
}

// join adds a worker with known CAs whose gateway has answered. It runs until ctx ends.
func (f *fleet) join(ctx context.Context, cas ...string) *worker {
	w := &worker{stops: new(Stops)}
	w.prober = NewProber(func(context.Context) error { return nil }, w.stops, nil)
	w.prober.step(ctx)
	w.Breakers = NewBreakers(Config{
		CAs: cas, Shared: f, Prober: w.prober, Stops: w.stops,
		OnChange: func(c Change) { w.changes = append(w.changes, c) },
	})
	f.workers = append(f.workers, w.Breakers)
	go w.Run(ctx)
	return w
}

// Admit asks for a call without a lane.
func (w *worker) Admit(ctx context.Context, op Operation, ca, producer string) (*Permit, error) {
	return w.Breakers.Admit(ctx, op, Scope{Producer: producer, CA: ca})
}

// Wait waits for a lane that no suspension names.
func (w *worker) Wait(ctx context.Context, op Operation) error {
	return w.Breakers.Wait(ctx, "lane", op)
}

// Room is that of a lane that no suspension names.
func (w *worker) Room(op Operation) int { return w.Breakers.Room("lane", op) }

// call makes one call that ends as o, and reports whether it was admitted.
func (w *worker) call(t testing.TB, op Operation, ca, producer string, o Outcome) bool {
	t.Helper()
	p, err := w.Admit(t.Context(), op, ca, producer)
	if err != nil {
		if _, ok := errors.AsType[*OpenError](err); !ok {
			t.Fatalf("admitting a call: %v", err)
		}
		return false
	}
	p.Done(o)
	return true
}

// calls makes n calls of a producer and returns how many were admitted.
func (w *worker) calls(t testing.TB, n int, op Operation, ca, producer string, o Outcome) (admitted int) {
	t.Helper()
	for range n {
		if w.call(t, op, ca, producer, o) {
			admitted++
		}
	}
	return admitted
}

// status is the state of one breaker.
type status struct {
	State      State
	NextCanary time.Duration // while open
	Step       int           // while half-open
	Slowed     int           // producers that are slowed on their own
}

// state returns the state of a breaker.
func (w *worker) state(op Operation, ca string) status {
	w.mu.Lock()
	defer w.mu.Unlock()
	br := w.all[breakerKey{op, ca}]
	if br == nil {
		return status{}
	}
	s := status{State: br.state}
	for _, p := range br.producers {
		if p.slow > 0 {
			s.Slowed++
		}
	}
	switch br.state {
	case Open:
		s.NextCanary = max(0, time.Until(br.due))
	case HalfOpen:
		s.Step = br.step
	}
	return s
}
