package order

import (
	"slices"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// The exhaustive test drives the machine through a small model of the world. Its parts:
//
//	world_test.go       the bus: ledger, result, wake-up, dead letters, messages
//	handling_test.go    the loop of a worker: decide, effects in order, call, answer
//	gateway_test.go     the gateway: its enrollments, and every possible answer
//	fault_test.go       crashes, lost acknowledgements, lost records, operators
//	invariant_test.go   the invariants of every state
//	fingerprint_test.go the equality of states
//	search_test.go      breadth-first search, and the fair run that ends every order
//	exhaustive_test.go  the searched scenes, mutation_test.go the deliberate faults

// world is one state of the model. It is a value: a step copies it and changes the copy. Values
// behind its pointers never change.
type world struct {
	scene   *scene
	now     time.Time
	ids     uint64 // last revision or message id given out
	entries [2]entry
	bus     []queued // every message that is not acknowledged; replaced, never changed
	workers [2]handling
	gateway gateway
	faults  int // remaining

	// What happened, as the invariants need to know it.
	kept                         *kept // a copy of the store, or nil
	operator, replayed, resolved bool
	missed                       bool // a look-up missed an existing certificate
	denied                       bool // the policy now refuses the watched order
	broken                       string
}

// The two orders of a scene: the watched one, and the cancellation of it.
const (
	watched = iota
	cancelling
)

// entry is the bus's content for one order, and its history.
type entry struct {
	record  *Stored // or nil
	result  *entrustbus.Result
	wakeup  *Wakeup
	letters []string // ids of dead letters, sorted, each once
	audits  []string // ids of ends, sorted

	opened int                    // highest generation that a record had
	posts  [generations]int       // calls written to the gateway
	began  [generations]time.Time // when a worker first knew that the order is awaiting
	counts [generations]int       // results published
	excuse bool                   // an end as unconfirmed has a cause outside of the workers
	lost   bool                   // the ledger lost the record
	orphan bool                   // a message of it was lost too: the watchdog wakes it
	lostTo uint64                 // revisions and message ids up to here are older than the loss
}

const generations = 4

// queued is a message: a request, or a due message, that is not acknowledged yet.
type queued struct {
	id       uint64
	order    int
	request  *Request // nil for a due message
	byHand   *ByHand  // of an operator's completion or resolution, beside request
	wakeup   *Wakeup  // of a due message
	inFlight int      // count of its handlings
	again    bool     // it was delivered before
	after    time.Time
}

func (m *queued) generation() int {
	if m.wakeup != nil {
		return m.wakeup.Generation
	}
	return m.request.Generation
}

// stored is the record of an order as a worker reads it.
func (w *world) stored(order int) *Stored {
	if r := w.entries[order].record; r != nil {
		return r
	}
	return &Stored{}
}

func (w *world) id() uint64 {
	w.ids++
	return w.ids
}

// write stores a record, unless another write came before it.
func (w *world) write(order int, over *Stored, r Record) (*Stored, bool) {
	cur := w.stored(order)
	if cur.Revision != over.Revision && !w.scene.mutant.writesBlindly {
		return nil, false
	}
	w.checkWrite(order, cur.Record, r)
	w.checkDenied(order, r)
	next := &Stored{Record: r, Revision: w.id(), At: w.now}
	e := &w.entries[order]
	e.record = next
	e.opened = max(e.opened, r.Generation)
	return next, true
}

// accepted notes when a worker first knew that the gateway has the order.
func (w *world) accepted(i int, s *Stored) {
	h := &w.workers[i]
	began := &w.entries[h.order].began[s.Generation]
	if s.Phase == Awaiting && began.IsZero() {
		*began = h.decided
	}
}

// publish publishes a result, unless there is one of its generation or a later one. It returns
// the result in force.
func (w *world) publish(order int, r *entrustbus.Result) *entrustbus.Result {
	e := &w.entries[order]
	if e.result != nil && !w.scene.mutant.publishesBlindly &&
		(e.result.Replay >= r.Replay || w.scene.mutant.anyResultStands) {
		return e.result
	}
	e.result = r
	w.checkPublished(order, r)
	return r
}

func (w *world) deadLetter(order int, l *Letter) {
	e := &w.entries[order]
	if at, found := slices.BinarySearch(e.letters, l.ID); !found {
		e.letters = slices.Insert(slices.Clone(e.letters), at, l.ID)
	}
}

// audit writes the record of a decision to the audit trail. The model keeps only ends: the
// record of the end repeats the others.
func (w *world) audit(order int, a *Audit, stands *entrustbus.Result) {
	if a.Result == nil {
		return
	}
	if stands != nil {
		a = a.Of(stands)
	}
	e := &w.entries[order]
	id := a.ID(keys[order])
	if at, found := slices.BinarySearch(e.audits, id); !found {
		e.audits = slices.Insert(slices.Clone(e.audits), at, id)
	}
}

// unwake removes the wake-up of a generation.
func (w *world) unwake(order, generation int) {
	if up := w.entries[order].wakeup; up != nil && (up.Generation <= generation || w.scene.mutant.unwakesAny) {
		w.entries[order].wakeup = nil
	}
}

// fire turns a wake-up into a due message.
func (w *world) fire(order int) {
	up := w.entries[order].wakeup
	w.entries[order].wakeup = nil
	w.add(queued{order: order, wakeup: up})
}

// request publishes a request.
func (w *world) request(order int, q *Request, byHand *ByHand) {
	m := queued{order: order, byHand: byHand}
	given := *q
	given.Ref = Ref{Sequence: w.ids + 1, Time: w.now}
	m.request = &given
	w.add(m)
}

func (w *world) add(m queued) {
	m.id = w.id()
	w.bus = append(slices.Clip(w.bus), m)
}

// message returns an unacknowledged message, to be changed.
func (w *world) message(id uint64) *queued {
	at := slices.IndexFunc(w.bus, func(m queued) bool { return m.id == id })
	if at < 0 {
		return nil
	}
	w.bus = slices.Clone(w.bus)
	return &w.bus[at]
}

func (w *world) acknowledge(id uint64) {
	w.bus = slices.DeleteFunc(slices.Clone(w.bus), func(m queued) bool { return m.id == id })
}

// release returns a message to the server, which delivers it again later.
func (w *world) release(id uint64, after time.Duration) {
	if m := w.message(id); m != nil {
		m.inFlight = max(0, m.inFlight-1) // a rollback lost its delivery
		m.after = w.now.Add(after)
	}
}

// soon is the next time at which the world changes by itself, or zero.
func (w *world) soon() time.Time {
	var soon time.Time
	at := func(t time.Time) {
		if t.After(w.now) && (soon.IsZero() || t.Before(soon)) {
			soon = t
		}
	}
	for i := range w.entries {
		e := &w.entries[i]
		if e.wakeup != nil {
			at(e.wakeup.Due)
		}
		if e.record != nil {
			switch e.record.Phase {
			case Submitting:
				at(e.record.At.Add(e.record.Lease))
			case Awaiting:
				at(e.record.Deadline)
			}
		}
	}
	for i := range w.bus {
		at(w.bus[i].after)
	}
	return soon
}

// pass moves the clock. A worker that delayed its call or its answer beyond its lease excuses
// an end as unconfirmed: another worker could not know.
func (w *world) pass(to time.Time) {
	w.now = to
	for i := range w.workers {
		h := &w.workers[i]
		r := w.entries[h.order].record
		if h.underWay() && r != nil && !w.now.Before(r.At.Add(w.scene.Lease)) {
			w.entries[h.order].excuse = true
		}
	}
}
