package gatewaytest

import (
	"container/heap"
	"errors"
	"sync"
	"time"
)

var (
	// ErrNoOrder means that a tracking id is of no order since this start of the gateway.
	ErrNoOrder = errors.New("no such order")
	// ErrEnded means that an order is no longer pending.
	ErrEnded = errors.New("order is not pending")

	errLicence = errors.New("licence cap reached")
)

// event is an entry of the certificate event log.
type event struct {
	at     int64
	num    uint32
	action standing // valid: issued, or a hold was lifted
	lifted bool
}

// revocation is the latest change of a certificate's status.
type revocation struct {
	at       int64
	standing standing
	reason   string
	comment  string
	asked    int // requests for it, including repeats
}

// store holds every order, certificate and revocation. All methods are safe for concurrent use.
type store struct {
	mu       sync.Mutex
	nonce    nonce
	journal  *journal // nil: not persistent
	chunks   []*[chunkSize]order
	last     uint32 // the highest reserved number; numbers start at 1
	byKey    map[keyID]uint32
	due      dueHeap
	events   []event
	actions  map[uint32]*revocation
	foreign  map[string]*revocation // of serials this gateway never issued
	reserved int                    // enrollments between reserve and enroll

	enrolled, issued, rejected, active, duplicates, polls int

	times map[uint32][]int64 // every poll; nil unless recorded
}

const chunkSize = 4096

// openStore returns a store filled from the journal at path; an empty store without a journal
// for "".
func openStore(path string, fresh nonce, recordPolls bool) (*store, error) {
	st := &store{
		nonce:   fresh,
		byKey:   map[keyID]uint32{},
		actions: map[uint32]*revocation{},
		foreign: map[string]*revocation{},
	}
	if recordPolls {
		st.times = map[uint32][]int64{}
	}
	if path == "" {
		return st, nil
	}
	empty := true
	j, err := openJournal(path, func(r *record) { empty = false; st.apply(r) })
	if err != nil {
		return nil, err
	}
	st.journal = j
	if empty {
		return st, j.write(&record{kind: recHeader, serial: fresh[:]})
	}
	return st, nil
}

// at returns the order with the number; nil if there is none. Caller holds st.mu.
func (st *store) at(num uint32) *order {
	if num == 0 || num > st.last {
		return nil
	}
	chunk := int(num / chunkSize)
	if chunk >= len(st.chunks) || st.chunks[chunk][num%chunkSize].packed == nil {
		return nil
	}
	return &st.chunks[chunk][num%chunkSize]
}

// commit writes r to the journal and applies it. Caller holds st.mu.
func (st *store) commit(r *record) error {
	if err := st.journal.write(r); err != nil {
		return err
	}
	st.apply(r)
	return nil
}

// apply makes the change in r. Caller holds st.mu, or has the only reference.
func (st *store) apply(r *record) {
	switch r.kind {
	case recHeader:
		copy(st.nonce[:], r.serial)
	case recEnroll:
		st.applyEnroll(r)
	case recSettle:
		o := st.at(r.num)
		o.state, o.cert = r.state, r.cert
		st.settled(r.num, o, r.at)
	case recDecide:
		o := st.at(r.num)
		o.due, o.fate = r.due, r.fate
		heap.Push(&st.due, dueEntry{r.due, r.num})
	case recAction:
		st.applyAction(r)
	}
}

func (st *store) applyEnroll(r *record) {
	st.last = max(st.last, r.num)
	for len(st.chunks) <= int(r.num/chunkSize) {
		st.chunks = append(st.chunks, new([chunkSize]order))
	}
	o := &st.chunks[r.num/chunkSize][r.num%chunkSize]
	*o = order{
		packed: r.packed, cert: r.cert, enrolled: r.at, due: r.due,
		state: r.state, fate: r.fate, flaw: r.flaw, shape: r.shape, ca: r.ca, chain: r.chain,
	}
	key := keyIDOf(unpack(r.packed).spki)
	o.older = st.byKey[key]
	st.byKey[key] = r.num
	st.enrolled++
	if o.older != 0 {
		st.duplicates++
	}
	if o.state == pending {
		if o.due != 0 {
			heap.Push(&st.due, dueEntry{o.due, r.num})
		}
		return
	}
	st.settled(r.num, o, r.at)
}

// settled counts an order that ended. Caller holds st.mu.
func (st *store) settled(num uint32, o *order, at int64) {
	if o.state == rejected {
		st.rejected++
		return
	}
	st.issued++
	st.active++
	st.addEvent(event{at: at, num: num})
}

// addEvent adds to the event log, which is sorted by time. Caller holds st.mu.
func (st *store) addEvent(e event) {
	if n := len(st.events); n > 0 {
		e.at = max(e.at, st.events[n-1].at)
	}
	st.events = append(st.events, e)
}

func (st *store) applyAction(r *record) {
	var rev *revocation
	var o *order
	if r.num == 0 {
		if rev = st.foreign[string(r.serial)]; rev == nil {
			rev = &revocation{}
			st.foreign[string(r.serial)] = rev
		}
	} else {
		o = st.at(r.num)
		if rev = st.actions[r.num]; rev == nil {
			rev = &revocation{}
			st.actions[r.num] = rev
		}
	}
	rev.asked++
	if rev.standing == r.standing {
		return // a repeat: the first reason and time stay
	}
	if o != nil {
		switch {
		case o.standing == valid:
			st.active--
		case r.standing == valid:
			st.active++
		}
		st.addEvent(event{at: r.at, num: r.num, action: r.standing, lifted: r.standing == valid})
		o.standing = r.standing
	}
	rev.at, rev.standing, rev.reason, rev.comment = r.at, r.standing, r.reason, r.comment
}

// reserve returns the next number, unless limit certificates are active or about to be (0: no
// limit). The caller must call enroll or release for each number.
func (st *store) reserve(limit int) (uint32, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if limit > 0 && st.active+st.reserved >= limit {
		return 0, errLicence
	}
	st.reserved++
	st.last++
	return st.last, nil
}

func (st *store) release() {
	st.mu.Lock()
	st.reserved--
	st.mu.Unlock()
}

// enroll records a new order under a reserved number.
func (st *store) enroll(r *record) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.reserved--
	return st.commit(r)
}

// get returns a copy of an order.
func (st *store) get(num uint32) (order, bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	o := st.at(num)
	if o == nil {
		return order{}, false
	}
	return *o, true
}

// poll counts a poll and returns a copy of the order.
func (st *store) poll(num uint32, now time.Time) (order, bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	o := st.at(num)
	if o == nil {
		return order{}, false
	}
	st.polls++
	o.notePoll(now.UnixNano())
	if st.times != nil {
		st.times[num] = append(st.times[num], now.UnixNano())
	}
	return *o, true
}

// told records that the order's end was sent to the client.
func (st *store) told(num uint32) {
	st.mu.Lock()
	if o := st.at(num); o != nil {
		o.ended = true
	}
	st.mu.Unlock()
}

// settle ends a pending order with a certificate, or as rejected if cert is nil. If the order
// has already ended, that end stays. It returns the order afterwards.
func (st *store) settle(num uint32, cert []byte, now time.Time) (order, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	o := st.at(num)
	if o.state != pending {
		return *o, nil
	}
	end := rejected
	if cert != nil {
		end = issued
	}
	err := st.commit(&record{kind: recSettle, num: num, at: now.UnixNano(), state: end, cert: cert})
	return *o, err
}

// decide sets how a pending order ends, and when.
func (st *store) decide(num uint32, fate state, at time.Time) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	o := st.at(num)
	if o == nil {
		return ErrNoOrder
	}
	if o.state != pending {
		return ErrEnded
	}
	return st.commit(&record{kind: recDecide, num: num, due: at.UnixNano(), fate: fate})
}

// pendingOrders returns the numbers of the orders that wait for a decision by
// hand or by time.
func (st *store) pendingOrders() []uint32 {
	st.mu.Lock()
	defer st.mu.Unlock()
	var nums []uint32
	for num := uint32(1); num <= st.last; num++ {
		if o := st.at(num); o != nil && o.state == pending {
			nums = append(nums, num)
		}
	}
	return nums
}

// act changes the status of the certificate of an order, or (num 0) of a serial that this
// gateway never issued.
func (st *store) act(num uint32, serial []byte, to standing, reason, comment string, now time.Time) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.commit(&record{
		kind: recAction, num: num, serial: serial, at: now.UnixNano(),
		standing: to, reason: reason, comment: comment,
	})
}

// overdue removes up to n orders from the queue whose due time has passed.
func (st *store) overdue(n int, now time.Time) []uint32 {
	st.mu.Lock()
	defer st.mu.Unlock()
	var nums []uint32
	for len(nums) < n && len(st.due) > 0 && st.due[0].at <= now.UnixNano() {
		e := heap.Pop(&st.due).(dueEntry)
		// An order that was polled, or decided again, leaves a stale entry.
		if o := st.at(e.num); o.state == pending && o.due == e.at {
			nums = append(nums, e.num)
		}
	}
	return nums
}

func (st *store) close() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.journal.close()
}

// dueEntry is an order with the time at which it ends.
type dueEntry struct {
	at  int64
	num uint32
}

// dueHeap is a heap of entries, earliest first.
type dueHeap []dueEntry

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h dueHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *dueHeap) Push(x any)        { *h = append(*h, x.(dueEntry)) }
func (h *dueHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	*h = old[:len(old)-1]
	return e
}
