package audit

import (
	"crypto/ed25519"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Message is one message of the stream, as it is stored.
type Message struct {
	Sequence  uint64
	Subject   string
	Stored    time.Time
	Body      []byte
	Signature string // of HeaderSignature
}

// Fault is one defect of the trail.
type Fault struct {
	Sequence uint64 `json:"sequence,omitempty"` // the message that shows it; 0: the end of the trail
	Chain    string `json:"chain,omitempty"`
	What     string `json:"fault"`
}

// Error returns the fault as one line.
func (f *Fault) Error() string {
	s := f.What
	if f.Chain != "" {
		s = "chain " + f.Chain + ": " + s
	}
	if f.Sequence > 0 {
		s = fmt.Sprintf("message %d: %s", f.Sequence, s)
	}
	return s
}

// ChainReport describes one chain.
type ChainReport struct {
	Chain string `json:"chain"`
	First uint64 `json:"first"` // number of its first record in the trail
	Last  uint64 `json:"last"`
	Heads int    `json:"heads"`
	// Signed counts the heads whose signature was checked.
	Signed int `json:"signed"`
	// Ended says that the last record is the head of a stop. Otherwise the chain's worker
	// still runs or died, or the end of the chain was cut off.
	Ended bool `json:"ended"`
	// Unproven is the number of records behind the last head.
	Unproven uint64    `json:"unproven"`
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
}

// Verifier checks a trail. Pass every message of the stream to Add in the order of the
// sequence, then call Report. The zero value checks no signature. It keeps 16 bytes for
// each record, and is not safe for concurrent use.
type Verifier struct {
	// Keys are the public keys of the signers of heads; without keys, signatures are not
	// checked.
	Keys []ed25519.PublicKey
	// MaxAge is the stream's, Created its creation time, Now the present time. The
	// beginning of the trail may be gone only because of its age.
	MaxAge       time.Duration
	Created, Now time.Time

	faults []Fault
	chains map[string]*trail
	first  uint64   // sequence of the first message
	bodies []uint64 // short hashes by sequence, from first on; 0 for none
	count  uint64
}

// trail is the state of one chain.
type trail struct {
	ChainReport
	hash    string // of the record with the number Last
	missing []span
	seen    []uint64        // short hashes by number, from First on; 0 for none
	moved   map[uint64]bool // numbers that came out of order and that no Late field names yet
}

// span is a range of records that have not come yet.
type span struct {
	from, to uint64
	before   string // hash of the record before from, "" if unknown
	after    string // hash of record to, as the record after it states it
}

// Add checks the next message. Faults are in the Report.
func (v *Verifier) Add(m Message) {
	fault := func(chain, what string, args ...any) {
		v.faults = append(v.faults, Fault{m.Sequence, chain, fmt.Sprintf(what, args...)})
	}
	if v.chains == nil {
		v.chains, v.first = map[string]*trail{}, m.Sequence
		if m.Sequence > 1 && v.MaxAge > 0 && v.Now.Before(v.Created.Add(v.MaxAge)) {
			fault("", "the stream begins here, but it is younger than its maximum age: messages before this one were removed")
		}
	}
	if next := v.first + uint64(len(v.bodies)); m.Sequence > next {
		fault("", "%d messages before it are missing from the stream", m.Sequence-next)
		v.bodies = append(v.bodies, make([]uint64, m.Sequence-next)...)
	}
	hash := Hash(m.Body)
	v.bodies = append(v.bodies, short(hash))
	v.count++
	r, err := Decode(m.Body)
	if err != nil {
		fault("", "not an audit record: %v", err)
		return
	}
	token := m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]
	own := OfWorker
	if token == OfOperator {
		own = OfOperator
	}
	if want := subjectToken(r, own); token != want {
		fault(r.Chain, "the record of %s is on the subject %s", want, m.Subject)
	}
	t := v.chains[r.Chain]
	switch {
	case t == nil:
		t = v.begin(r, m, fault)
	case r.Number > t.Last:
		v.follow(t, r, hash, fault)
	default:
		v.late(t, r, hash, fault)
		return
	}
	t.Last, t.hash, t.To = r.Number, hash, r.Time
	t.note(r.Number, hash)
	for _, n := range r.Late {
		delete(t.moved, n)
	}
	t.Ended = false
	t.Unproven++
	if r.Head != nil {
		v.head(t, r, m, token != OfOperator, fault)
	}
}

// begin checks the first record of a chain in the trail.
func (v *Verifier) begin(r *Record, m Message, fault func(string, string, ...any)) *trail {
	t := &trail{ChainReport: ChainReport{Chain: r.Chain, First: r.Number, From: r.Time}, moved: map[uint64]bool{}}
	v.chains[r.Chain] = t
	switch {
	case r.Number == 1 && (r.Head == nil || r.Head.Of != HeadStart):
		fault(r.Chain, "its first record is not a head")
	case r.Number == 1:
	case v.MaxAge == 0 || m.Stored.Before(v.Now.Add(-v.MaxAge+firstGone)):
		// A live worker writes a head a day: the record before is at most a day older.
	default:
		fault(r.Chain, "records 1 to %d are missing, but too young to be gone by age", r.Number-1)
	}
	return t
}

// firstGone bounds how much younger than MaxAge the first remaining record of a chain may
// be if its predecessors are gone by age: a day from head to head, and an hour.
const firstGone = 25 * time.Hour

// follow checks a record whose number is above the last one.
func (v *Verifier) follow(t *trail, r *Record, hash string, fault func(string, string, ...any)) {
	switch {
	case r.Number > t.Last+1:
		t.missing = append(t.missing, span{t.Last + 1, r.Number - 1, t.hash, r.Previous})
	case r.Previous != t.hash:
		fault(t.Chain, "record %d does not follow record %d: one of them was changed", r.Number, t.Last)
	}
	if t.Ended {
		fault(t.Chain, "record %d comes after the head of the stop", r.Number)
	}
}

// late checks a record whose number is below an earlier record's.
func (v *Verifier) late(t *trail, r *Record, hash string, fault func(string, string, ...any)) {
	at := slices.IndexFunc(t.missing, func(s span) bool { return s.from <= r.Number && r.Number <= s.to })
	if at < 0 {
		// The writer may have stored a record twice because it missed the first
		// acknowledgement.
		if r.Number < t.First || t.seen[r.Number-t.First] != short(hash) {
			fault(t.Chain, "duplicate record %d with other content", r.Number)
		}
		return
	}
	s := t.missing[at]
	var parts []span
	if r.Number == s.from && r.Previous != s.before || r.Number == s.to && hash != s.after {
		fault(t.Chain, "record %d does not fit between its neighbours: it was changed", r.Number)
	}
	if r.Number > s.from {
		parts = append(parts, span{s.from, r.Number - 1, s.before, r.Previous})
	}
	if r.Number < s.to {
		parts = append(parts, span{r.Number + 1, s.to, hash, s.after})
	}
	t.missing = slices.Replace(t.missing, at, at+1, parts...)
	t.note(r.Number, hash)
	t.moved[r.Number] = true
}

// head checks a head. Operators' heads are not signed: the heads of workers vouch for
// them.
func (v *Verifier) head(t *trail, r *Record, m Message, signed bool, fault func(string, string, ...any)) {
	t.Heads++
	t.Unproven, t.Ended = 0, r.Head.Of == HeadStop
	for _, n := range slices.Sorted(maps.Keys(t.moved)) {
		fault(t.Chain, "record %d is out of order", n)
	}
	clear(t.moved)
	if s := r.Head.Sequence; s >= v.first && s > 0 {
		at := s - v.first
		switch {
		case at+1 >= uint64(len(v.bodies)):
			fault(t.Chain, "its head names message %d as stored before the head, but it is not: messages were removed or moved", s)
		case r.Head.Hash != "" && v.bodies[at] != short(r.Head.Hash):
			fault(t.Chain, "its head has another hash for message %d: messages were changed, removed or moved", s)
		}
	}
	if len(v.Keys) == 0 || !signed {
		return
	}
	for _, key := range v.Keys {
		if KeyID(key) == r.Head.KeyID && verify(key, m.Body, m.Signature) {
			t.Signed++
			return
		}
	}
	switch {
	case r.Head.KeyID == "" && m.Signature == "":
		fault(t.Chain, "its head is not signed")
	default:
		fault(t.Chain, "the signature of its head by key %s cannot be verified with the keys given", r.Head.KeyID)
	}
}

// note keeps the short hash of a record.
func (t *trail) note(n uint64, hash string) {
	at := n - t.First
	if room := at + 1; room > uint64(len(t.seen)) && room < uint64(len(t.seen))+1<<24 {
		t.seen = append(t.seen, make([]uint64, room-uint64(len(t.seen)))...)
	}
	if at < uint64(len(t.seen)) {
		t.seen[at] = short(hash)
	}
}

// short returns the part of a hash that the verifier keeps: enough to tell records apart.
func short(hash string) uint64 {
	var b [8]byte
	if _, err := hex.Decode(b[:], []byte(hash[:min(16, len(hash))])); err != nil {
		return 1
	}
	return binary.BigEndian.Uint64(b[:]) | 1 // 0 means none
}

// Report is the result of a check.
type Report struct {
	Records uint64        `json:"records"`
	First   uint64        `json:"first"` // sequence of the first message
	Last    uint64        `json:"last"`
	Chains  []ChainReport `json:"chains"`
	Faults  []Fault       `json:"faults"`
}

// Report ends the check and returns its result.
func (v *Verifier) Report() *Report {
	out := &Report{Records: v.count, First: v.first, Faults: slices.Clone(v.faults)}
	if v.count > 0 {
		out.Last = v.first + uint64(len(v.bodies)) - 1
	}
	for _, name := range slices.Sorted(maps.Keys(v.chains)) {
		t := v.chains[name]
		for _, s := range t.missing {
			what := fmt.Sprintf("record %d is missing", s.from)
			if s.to > s.from {
				what = fmt.Sprintf("records %d to %d are missing", s.from, s.to)
			}
			out.Faults = append(out.Faults, Fault{Chain: name, What: what})
		}
		out.Chains = append(out.Chains, t.ChainReport)
	}
	return out
}
