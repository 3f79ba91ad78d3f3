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

// Fault is one thing that is wrong with the trail.
type Fault struct {
	Sequence uint64 `json:"sequence,omitempty"` // where it shows, 0 for at the end
	Chain    string `json:"chain,omitempty"`
	What     string `json:"fault"`
}

// Error is one line.
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

// ChainReport is what is known of one chain.
type ChainReport struct {
	Chain string `json:"chain"`
	First uint64 `json:"first"` // number of its first record that is there
	Last  uint64 `json:"last"`
	Heads int    `json:"heads"`
	// Signed counts the heads whose signature was checked.
	Signed int `json:"signed"`
	// Ended says that its last record is the head of a stop. A chain that is not ended is
	// that of a worker that runs, or died, or its end was cut off.
	Ended bool `json:"ended"`
	// Unproven is how many records stand behind its last head.
	Unproven uint64    `json:"unproven"`
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
}

// Verifier checks a trail. Give it every message of the stream in the order of the
// sequence, then ask for the Report. The zero value checks no signature. It keeps 16
// bytes of each record, and is not safe for concurrent use.
type Verifier struct {
	// Keys are those that heads are signed with; with none, signatures are not checked.
	Keys []ed25519.PublicKey
	// MaxAge is that of the stream, Created when it was made, Now the present time: the
	// beginning of the trail may be gone by age only.
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
	moved   map[uint64]bool // numbers that came out of order, and that no record names yet
}

// span is a row of records that have not come yet.
type span struct {
	from, to uint64
	before   string // hash of the record before from, "" where that is not known
	after    string // what the record after to says of to
}

// Add checks the next message.
func (v *Verifier) Add(m Message) {
	fault := func(chain, what string, args ...any) {
		v.faults = append(v.faults, Fault{m.Sequence, chain, fmt.Sprintf(what, args...)})
	}
	if v.chains == nil {
		v.chains, v.first = map[string]*trail{}, m.Sequence
		if m.Sequence > 1 && v.MaxAge > 0 && v.Now.Before(v.Created.Add(v.MaxAge)) {
			fault("", "the stream begins here, and is too young for messages to be gone by age")
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
		fault("", "no audit record: %v", err)
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

// begin takes the first record of a chain that is there.
func (v *Verifier) begin(r *Record, m Message, fault func(string, string, ...any)) *trail {
	t := &trail{ChainReport: ChainReport{Chain: r.Chain, First: r.Number, From: r.Time}, moved: map[uint64]bool{}}
	v.chains[r.Chain] = t
	switch {
	case r.Number == 1 && (r.Head == nil || r.Head.Of != HeadStart):
		fault(r.Chain, "its first record is no head")
	case r.Number == 1:
	case v.MaxAge == 0 || m.Stored.Before(v.Now.Add(-v.MaxAge+firstGone)):
		// A live worker writes a head a day: the record before is at most a day older.
	default:
		fault(r.Chain, "records 1 to %d are missing, and too young to be gone by age", r.Number-1)
	}
	return t
}

// firstGone is how much younger than the age of the stream the first record of a chain
// may be whose beginning is gone: a day from head to head, and an hour.
const firstGone = 25 * time.Hour

// follow takes a record behind the last one.
func (v *Verifier) follow(t *trail, r *Record, hash string, fault func(string, string, ...any)) {
	switch {
	case r.Number > t.Last+1:
		t.missing = append(t.missing, span{t.Last + 1, r.Number - 1, t.hash, r.Previous})
	case r.Previous != t.hash:
		fault(t.Chain, "record %d does not follow record %d: one of them was changed", r.Number, t.Last)
	}
	if t.Ended {
		fault(t.Chain, "record %d stands behind the head of the stop", r.Number)
	}
}

// late takes a record whose number is below one that came before it.
func (v *Verifier) late(t *trail, r *Record, hash string, fault func(string, string, ...any)) {
	at := slices.IndexFunc(t.missing, func(s span) bool { return s.from <= r.Number && r.Number <= s.to })
	if at < 0 {
		// The writer may have stored a record again whose acknowledgement it had not seen.
		if r.Number < t.First || t.seen[r.Number-t.First] != short(hash) {
			fault(t.Chain, "there is another record %d", r.Number)
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

// head checks what a head says. Those of operators are not signed: heads of workers vouch
// for them.
func (v *Verifier) head(t *trail, r *Record, m Message, signed bool, fault func(string, string, ...any)) {
	t.Heads++
	t.Unproven, t.Ended = 0, r.Head.Of == HeadStop
	for _, n := range slices.Sorted(maps.Keys(t.moved)) {
		fault(t.Chain, "record %d stands out of order", n)
	}
	clear(t.moved)
	if s := r.Head.Sequence; s >= v.first && s > 0 {
		at := s - v.first
		switch {
		case at+1 >= uint64(len(v.bodies)):
			fault(t.Chain, "its head names message %d as stored before it: messages were removed, or put elsewhere", s)
		case r.Head.Hash != "" && v.bodies[at] != short(r.Head.Hash):
			fault(t.Chain, "its head says otherwise of message %d: messages were changed, removed or put elsewhere", s)
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

// short is what the verifier keeps of a hash: enough to tell a record from another.
func short(hash string) uint64 {
	var b [8]byte
	if _, err := hex.Decode(b[:], []byte(hash[:min(16, len(hash))])); err != nil {
		return 1
	}
	return binary.BigEndian.Uint64(b[:]) | 1 // 0 is none
}

// Report is what was found.
type Report struct {
	Records uint64        `json:"records"`
	First   uint64        `json:"first"` // sequence of the first message
	Last    uint64        `json:"last"`
	Chains  []ChainReport `json:"chains"`
	Faults  []Fault       `json:"faults"`
}

// Report ends the check.
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
