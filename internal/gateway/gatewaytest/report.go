package gatewaytest

import (
	"crypto/sha256"
	"encoding/hex"
	"iter"
	"slices"
	"time"
)

// Stats are counts since Start. Counts of orders include those that Config.Persist restored.
type Stats struct {
	Enrolled   int `json:"enrolled"`   // orders accepted
	Issued     int `json:"issued"`     // of them, certificates signed
	Pending    int `json:"pending"`    // of them, not yet ended (an approval counts once it is polled)
	Rejected   int `json:"rejected"`   // of them, rejected
	Active     int `json:"active"`     // certificates neither revoked nor held
	Duplicates int `json:"duplicates"` // orders beyond the first of their key
	Polls      int `json:"polls"`      // of known orders

	Requests  map[Op]int `json:"requests"`  // gateway requests by kind, refused ones included
	Throttled int        `json:"throttled"` // answered 429
	Refused   int        `json:"refused"`   // refused because of their content; without those of rules
	Forbidden int        `json:"forbidden"` // from a client certificate of an unknown subject

	RedirectsFollowed int `json:"redirects_followed"`
	TLSResets         int `json:"tls_resets"`
	ConnectionsOpened int `json:"connections_opened"`
	ConnectionsOpen   int `json:"connections_open"`
}

// Stats returns the current counts.
func (s *Server) Stats() Stats {
	st := s.store
	st.mu.Lock()
	out := Stats{
		Enrolled: st.enrolled, Issued: st.issued, Pending: st.enrolled - st.issued - st.rejected,
		Rejected: st.rejected, Active: st.active, Duplicates: st.duplicates, Polls: st.polls,
	}
	st.mu.Unlock()
	t := &s.tally
	out.Requests = map[Op]int{}
	for _, op := range []Op{OpEnroll, OpPoll, OpRevoke, OpCA, OpEvents, OpCert} {
		out.Requests[op] = int(t.count(op).Load())
	}
	out.Throttled, out.Refused, out.Forbidden = int(t.throttled.Load()), int(t.refused.Load()), int(t.forbidden.Load())
	out.RedirectsFollowed, out.TLSResets = int(t.redirects.Load()), int(t.tlsResets.Load())
	out.ConnectionsOpened, out.ConnectionsOpen = s.Connections()
	return out
}

// Connections returns the number of connections opened since Start, and the number of open
// ones.
func (s *Server) Connections() (opened, open int) {
	return int(s.tally.opened.Load()), int(s.tally.open.Load())
}

// KeyHash returns the name of a public key in reports: the SHA-256 of its DER
// SubjectPublicKeyInfo (x509.CertificateRequest.RawSubjectPublicKeyInfo), in hex.
func KeyHash(spki []byte) string {
	sum := sha256.Sum256(spki)
	return hex.EncodeToString(sum[:])
}

// Enrollment holds the orders for one public key. The slices have one element for each order,
// the oldest first.
type Enrollment struct {
	KeyHash     string   `json:"key_hash"`
	CN          string   `json:"cn"`
	Count       int      `json:"count"`
	TrackingIDs []string `json:"tracking_ids"`
	// Serials are lower-case hex without padding; "" for an order that is not issued.
	Serials []string `json:"serials"`
	// Statuses are "pending", "issued", "rejected", "revoked" and "held".
	Statuses []string    `json:"statuses"`
	Enrolled []time.Time `json:"enrolled"`
}

// Enrollments returns the number of orders for each key, by KeyHash.
func (s *Server) Enrollments() map[string]int {
	out := map[string]int{}
	for e := range s.AllEnrollments() {
		out[e.KeyHash] = e.Count
	}
	return out
}

// Enrollment returns the orders for the key with the hash.
func (s *Server) Enrollment(keyHash string) (Enrollment, bool) {
	raw, err := hex.DecodeString(keyHash)
	if err != nil || len(raw) != sha256.Size {
		return Enrollment{}, false
	}
	st := s.store
	st.mu.Lock()
	defer st.mu.Unlock()
	newest, ok := st.byKey[keyID(raw[:16])]
	if !ok {
		return Enrollment{}, false
	}
	return st.enrollment(newest), true
}

// AllEnrollments yields every key with orders, by the time of its latest enrollment. It locks
// the store for a batch at a time, so a change meanwhile may be included or not.
func (s *Server) AllEnrollments() iter.Seq[Enrollment] {
	return func(yield func(Enrollment) bool) {
		for batch := range s.store.batches() {
			var out []Enrollment
			s.store.mu.Lock()
			for num := batch.first; num <= batch.last; num++ {
				o := s.store.at(num)
				if o != nil && s.store.byKey[keyIDOf(unpack(o.packed).spki)] == num {
					out = append(out, s.store.enrollment(num))
				}
			}
			s.store.mu.Unlock()
			for _, e := range out {
				if !yield(e) {
					return
				}
			}
		}
	}
}

// numbers is a range of order numbers, both ends included.
type numbers struct{ first, last uint32 }

// batches splits the order numbers so far into ranges short enough to read under the lock.
func (st *store) batches() iter.Seq[numbers] {
	return func(yield func(numbers) bool) {
		const size = 512
		for first := uint32(1); !st.beyond(first); first += size {
			st.mu.Lock()
			last := min(first+size-1, st.last)
			st.mu.Unlock()
			if !yield(numbers{first, last}) {
				return
			}
		}
	}
}

// enrollment returns the report on the key whose newest order is num. Caller holds st.mu.
func (st *store) enrollment(num uint32) Enrollment {
	sp := unpack(st.at(num).packed)
	e := Enrollment{KeyHash: KeyHash(sp.spki), CN: commonName(sp.subject)}
	for ; num != 0; num = st.at(num).older {
		o := st.at(num)
		serial := ""
		if o.state == issued {
			serial = hex.EncodeToString(st.nonce.serial(num))
		}
		e.Count++
		e.TrackingIDs = append(e.TrackingIDs, st.nonce.trackingID(num, o.shape))
		e.Serials = append(e.Serials, serial)
		e.Statuses = append(e.Statuses, o.status())
		e.Enrolled = append(e.Enrolled, time.Unix(0, o.enrolled).UTC())
	}
	slices.Reverse(e.TrackingIDs)
	slices.Reverse(e.Serials)
	slices.Reverse(e.Statuses)
	slices.Reverse(e.Enrolled)
	return e
}

// status returns the status word of an order in reports.
func (o *order) status() string {
	switch {
	case o.state == pending:
		return "pending"
	case o.state == rejected:
		return "rejected"
	case o.standing == revoked:
		return "revoked"
	case o.standing == held:
		return "held"
	}
	return "issued"
}

// PollRecord summarises the polls of an order. Its times are whole milliseconds after
// Enrolled, except Times.
type PollRecord struct {
	TrackingID string    `json:"tracking_id"`
	CN         string    `json:"cn"`
	Enrolled   time.Time `json:"enrolled"`
	// Due is when the order ends or ended; zero: by hand.
	Due   time.Time `json:"due,omitzero"`
	Count int       `json:"count"`
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	// ShortestGap is the shortest time between two polls; zero for fewer than two.
	ShortestGap time.Duration `json:"shortest_gap_ns"`
	// AfterEnd counts the polls after an answer with the order's end was sent. That answer may
	// have been lost, or its receiver killed.
	AfterEnd int `json:"after_end"`
	// Times are all polls; only with Config.RecordPolls, and only since Start.
	Times []time.Time `json:"times,omitempty"`
}

// Polls yields the orders that were polled since Start, by the time of their enrollment.
func (s *Server) Polls() iter.Seq[PollRecord] {
	return func(yield func(PollRecord) bool) {
		for batch := range s.store.batches() {
			var out []PollRecord
			s.store.mu.Lock()
			for num := batch.first; num <= batch.last; num++ {
				if o := s.store.at(num); o != nil && o.polls > 0 {
					out = append(out, s.store.pollRecord(num))
				}
			}
			s.store.mu.Unlock()
			for _, r := range out {
				if !yield(r) {
					return
				}
			}
		}
	}
}

// PollsOf returns the polls of one order. It returns ErrNoOrder for an unknown order.
func (s *Server) PollsOf(trackingID string) (PollRecord, error) {
	num, ok := s.store.nonce.order(trackingID)
	st := s.store
	st.mu.Lock()
	defer st.mu.Unlock()
	if !ok || st.at(num) == nil {
		return PollRecord{}, ErrNoOrder
	}
	return st.pollRecord(num), nil
}

// pollRecord reports on an order. Caller holds st.mu.
func (st *store) pollRecord(num uint32) PollRecord {
	o := st.at(num)
	enrolled := time.Unix(0, o.enrolled).UTC()
	r := PollRecord{
		TrackingID: st.nonce.trackingID(num, o.shape), CN: commonName(unpack(o.packed).subject),
		Enrolled: enrolled, Count: int(o.polls), AfterEnd: int(o.afterEnd),
	}
	if o.polls > 0 {
		r.First = enrolled.Add(time.Duration(o.firstPoll) * time.Millisecond)
		r.Last = enrolled.Add(time.Duration(o.lastPoll) * time.Millisecond)
		r.ShortestGap = time.Duration(o.shortest) * time.Millisecond
	}
	if o.due != 0 {
		r.Due = time.Unix(0, o.due).UTC()
	}
	for _, at := range st.times[num] {
		r.Times = append(r.Times, time.Unix(0, at).UTC())
	}
	return r
}
