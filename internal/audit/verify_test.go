package audit

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

var begun = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// site makes trails of several chains, as workers do.
type site struct {
	t      *testing.T
	key    *Key
	stream []Message
}

// worker is one chain.
type worker struct {
	*site
	chain *Chain
	name  string
}

func newSite(t *testing.T) *site {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &site{t: t, key: &Key{private}}
}

func (s *site) start(name string) *worker {
	w := &worker{s, NewChain(name), name}
	w.head(HeadStart)
	return w
}

func (w *worker) store(r *Record) Message {
	r.Time = begun.Add(time.Duration(len(w.stream)) * time.Second)
	body, err := w.chain.Append(r)
	if err != nil {
		w.t.Fatal(err)
	}
	m := Message{Sequence: uint64(len(w.stream) + 1), Subject: "entrust.audit." + subjectToken(r, OfWorker), Stored: r.Time, Body: body}
	if r.Head != nil {
		m.Signature = w.key.sign(body)
	}
	return m
}

func (w *worker) head(of string) {
	h := &Head{Of: of, KeyID: w.key.ID()}
	if n := len(w.stream); n > 0 {
		h.Sequence, h.Hash = uint64(n), Hash(w.stream[n-1].Body)
	}
	w.stream = append(w.stream, w.store(&Record{Decision: DecisionHead, Head: h}))
}

func (w *worker) decide(n int) {
	for range n {
		w.stream = append(w.stream, w.store(&Record{
			Decision: "issued", Producer: "shop", Order: fmt.Sprint(len(w.stream)), Outcome: "issued", Serial: fmt.Sprintf("a%d", len(w.stream)),
		}))
	}
}

// twoChains is the trail of a worker that ended and of one that died.
func twoChains(t *testing.T) *site {
	s := newSite(t)
	a := s.start("a")
	a.decide(3)
	b := s.start("b")
	b.decide(2)
	a.decide(3)
	a.head(HeadDay)
	b.decide(2)
	a.decide(1)
	a.head(HeadStop)
	c := s.start("c")
	c.decide(3)
	return s
}

// copied returns the content of a stream to which these messages were published again.
func copied(all []Message) []Message {
	all = slices.Clone(all)
	for i := range all {
		all[i].Sequence = uint64(i + 1)
	}
	return all
}

func without(all []Message, from, to int) []Message {
	return slices.Delete(slices.Clone(all), from, to)
}

func with(all []Message, at int, change func(*Message)) []Message {
	all = slices.Clone(all)
	change(&all[at])
	return all
}

func swapped(all []Message, i, j int) []Message {
	all = slices.Clone(all)
	all[i], all[j] = all[j], all[i]
	return copied(all)
}

func verified(s *site, all []Message) *Report {
	v := Verifier{Keys: []ed25519.PublicKey{s.key.Public()}, MaxAge: 365 * 24 * time.Hour, Created: begun, Now: begun.Add(time.Hour)}
	for _, m := range all {
		v.Add(m)
	}
	return v.Report()
}

func TestWholeTrailHasNoFault(t *testing.T) {
	t.Parallel()
	s := twoChains(t)
	r := verified(s, s.stream)
	if len(r.Faults) > 0 {
		t.Errorf("faults %v", r.Faults)
	}
	want := []ChainReport{
		{Chain: "a", First: 1, Last: 10, Heads: 3, Signed: 3, Ended: true},
		{Chain: "b", First: 1, Last: 5, Heads: 1, Signed: 1, Unproven: 4},
		{Chain: "c", First: 1, Last: 4, Heads: 1, Signed: 1, Unproven: 3},
	}
	for i, c := range r.Chains {
		c.From, c.To = time.Time{}, time.Time{}
		if c != want[i] {
			t.Errorf("chain %+v, want %+v", c, want[i])
		}
	}
}

// The verifier finds each way of tampering with each message, unless nothing in the trail
// follows the message: no later record of its chain, no head that names it, and no later
// head.
func TestTamperingIsFound(t *testing.T) {
	t.Parallel()
	s := twoChains(t)
	all := s.stream
	records := make([]*Record, len(all))
	for i, m := range all {
		var err error
		if records[i], err = Decode(m.Body); err != nil {
			t.Fatal(err)
		}
	}
	behind := func(i int, what func(*Record) bool) bool { return slices.ContainsFunc(records[i+1:], what) }
	followed := func(i int) bool { return behind(i, func(r *Record) bool { return r.Chain == records[i].Chain }) }
	named := func(i int) bool {
		return behind(i, func(r *Record) bool { return r.Head != nil && r.Head.Sequence == uint64(i+1) })
	}
	headed := func(i int) bool { return behind(i, func(r *Record) bool { return r.Head != nil }) }
	isHead := func(i int) bool { return records[i].Head != nil }
	forged := func(m *Message) { m.Body = []byte(strings.Replace(string(m.Body), `"time":"2026`, `"time":"2025`, 1)) }
	last := len(all) - 1
	for i := range all {
		twice := all[i]
		twice.Sequence = uint64(len(all) + 1)
		forged(&twice)
		for _, how := range []struct {
			name   string
			tamper []Message
			found  bool
		}{
			{"removed", without(all, i, i+1), i < last},
			{"removed, and the rest copied", copied(without(all, i, i+1)), followed(i) || headed(i)},
			{"changed", with(all, i, forged), followed(i) || named(i) || isHead(i)},
			{"put on another subject", with(all, i, func(m *Message) { m.Subject = "entrust.audit.other" }), true},
			{"stored twice, with another body", append(slices.Clone(all), twice), true},
			{"swapped with the next", swapped(all, i, min(i+1, last)), i < last && records[i].Chain == records[i+1].Chain &&
				behind(i+1, func(r *Record) bool { return r.Chain == records[i].Chain && r.Head != nil })},
			{"exchanged with the next, each under the other's number", exchanged(all, i, min(i+1, last)), i < last && (followed(i) || followed(i+1))},
			{"cut off, with all before it", all[i+1:], true},
		} {
			if faults := verified(s, how.tamper).Faults; how.found && len(faults) == 0 && len(how.tamper) > 0 {
				t.Errorf("message %d of %d %s: not found\n%s", i+1, len(all), how.name, all[i].Body)
			}
		}
	}
}

// exchanged swaps the decisions of two messages, and keeps number and link.
func exchanged(all []Message, i, j int) []Message {
	all = slices.Clone(all)
	a, b := string(all[i].Body), string(all[j].Body)
	const of = `"decision"`
	at, bt := strings.Index(a, of), strings.Index(b, of)
	all[i].Body, all[j].Body = []byte(a[:at]+b[bt:]), []byte(b[:bt]+a[at:])
	return all
}

// A trail with a cut end has no fault if no head follows the cut. The report shows the
// chains that are not ended, and the number of unproven records.
func TestCutEndShows(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	w := s.start("a")
	w.decide(5)
	w.head(HeadStop)
	for cut := 1; cut < len(s.stream); cut++ {
		r := verified(s, s.stream[:len(s.stream)-cut])
		if len(r.Faults) > 0 || r.Chains[0].Ended {
			t.Errorf("cut by %d: faults %v, chain %+v", cut, r.Faults, r.Chains[0])
		}
	}
}

// If a whole chain is removed and the rest copied, the later heads show it.
func TestChainThatIsTakenOut(t *testing.T) {
	t.Parallel()
	s := twoChains(t)
	for _, name := range []string{"a", "b"} {
		rest := slices.DeleteFunc(slices.Clone(s.stream), func(m Message) bool { return strings.Contains(string(m.Body), `"chain":"`+name+`"`) })
		if r := verified(s, copied(rest)); len(r.Faults) == 0 {
			t.Errorf("chain %s was taken out, and no fault is found", name)
		}
	}
}

// A trail that was forged without the key is found.
func TestForgedTrail(t *testing.T) {
	t.Parallel()
	s := twoChains(t)
	forger := newSite(t)
	w := forger.start("a")
	w.decide(3)
	w.head(HeadStop)
	r := verified(s, forger.stream)
	if len(r.Faults) != 2 {
		t.Errorf("faults %v, want one for each head", r.Faults)
	}
	for i := range forger.stream {
		forger.stream[i].Signature = ""
	}
	if r := verified(s, forger.stream); len(r.Faults) != 2 {
		t.Errorf("unsigned: faults %v, want one for each head", r.Faults)
	}
}

// Operators' records are not signed; the later heads vouch for them. An unsigned head of
// a worker does not pass as an operator's.
func TestRecordsOfOperators(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	w := s.start("a")
	o := &worker{s, NewChain("operator"), "operator"}
	at := len(s.stream)
	o.head(HeadStart)
	s.stream = append(s.stream, o.store(&Record{Decision: DecisionBlock, Operator: "ada", Is: "hash"}))
	o.head(HeadStop)
	for i := range s.stream[at:] {
		s.stream[at+i].Subject, s.stream[at+i].Signature = "entrust.audit."+OfOperator, ""
	}
	w.head(HeadStop)
	if r := verified(s, s.stream); len(r.Faults) > 0 {
		t.Errorf("faults %v", r.Faults)
	}
	if r := verified(s, copied(without(s.stream, at, at+3))); len(r.Faults) == 0 {
		t.Error("an operator's chain was taken out, and no fault is found")
	}
	s.stream[0].Signature = ""
	if r := verified(s, s.stream); len(r.Faults) != 1 {
		t.Errorf("a head without its signature: faults %v", r.Faults)
	}
}

// Repeated records come after later ones; the next record names them.
func TestLateRecords(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	w := s.start("a")
	for _, stored := range [][]int{{1, 2, 0}, {2, 0, 1}, {2, 1, 0}, {0, 2, 1}, {3, 0, 2, 1}} {
		var batch []Message
		for range stored {
			batch = append(batch, w.store(&Record{Decision: "issued", Producer: "shop"}))
		}
		next := len(stored)
		place := map[int]int{}
		for at, i := range stored {
			place[i] = at
			m := batch[i]
			m.Sequence = uint64(len(s.stream) + 1)
			s.stream = append(s.stream, m)
		}
		for i := next - 1; i >= 0; i-- {
			for j := i + 1; j < next; j++ {
				if place[i] > place[j] {
					w.chain.StoredLate(w.chain.number - uint64(next-1-i))
					break
				}
			}
		}
		w.decide(1)
	}
	w.head(HeadStop)
	if r := verified(s, s.stream); len(r.Faults) > 0 {
		t.Errorf("faults %v", r.Faults)
	}
}

// The beginning of a trail may be missing only because of its age.
func TestBeginningGoneByAge(t *testing.T) {
	t.Parallel()
	s := twoChains(t)
	for _, tc := range []struct {
		name   string
		now    time.Time
		faulty bool
	}{
		{"young", begun.Add(time.Hour), true},
		{"a year old", begun.Add(365 * 24 * time.Hour), false},
	} {
		v := Verifier{MaxAge: 365 * 24 * time.Hour, Created: begun, Now: tc.now}
		for _, m := range s.stream[2:] {
			v.Add(m)
		}
		if r := v.Report(); len(r.Faults) > 0 != tc.faulty {
			t.Errorf("%s: faults %v", tc.name, r.Faults)
		}
	}
}

// The verifier reports any content of the stream as faults, and continues.
func FuzzVerifier(f *testing.F) {
	f.Add("entrust.audit.shop", []byte(`{"v":1,"chain":"a","n":1,"decision":"head","head":{"of":"start"}}`), "", uint64(1))
	f.Add("", []byte(`{"v":1,"chain":"a","n":18446744073709551615}`), "x", uint64(1<<20))
	f.Fuzz(func(t *testing.T, subject string, body []byte, signature string, n uint64) {
		v := Verifier{MaxAge: time.Hour, Now: begun}
		for i := range uint64(3) {
			v.Add(Message{Sequence: i + 1, Subject: subject, Body: body, Signature: signature})
			v.Add(Message{Sequence: i + 2 + n%1000, Subject: subject, Body: []byte(fmt.Sprintf(`{"v":1,"chain":"a","n":%d}`, n)), Signature: signature})
		}
		v.Report()
	})
}
