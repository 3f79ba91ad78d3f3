package order

import (
	"encoding/binary"
	"hash/maphash"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// fingerprintOf is the hash of a state.
type fingerprintOf uint64

var seed = maphash.MakeSeed()

// fingerprint is equal for states with the same future. Times count from now, revisions and
// message ids only by the message that they name, and the two workers may be swapped.
func (w *world) fingerprint() fingerprintOf {
	var room [2048]byte
	a, b := &w.workers[0], &w.workers[1]
	switch {
	case a.stage > b.stage, a.stage == b.stage && a.stage == idle && w.stored(watched).Owner == w.scene.workers[0]:
		return fingerprintOf(maphash.Bytes(seed, w.print(room[:0], 0, 1)))
	case a.stage < b.stage, a.stage == idle:
		return fingerprintOf(maphash.Bytes(seed, w.print(room[:0], 1, 0)))
	}
	one := maphash.Bytes(seed, w.print(room[:0], 0, 1))
	other := maphash.Bytes(seed, w.print(room[:0], 1, 0))
	return fingerprintOf(min(one, other))
}

// printer appends the parts of a state that matter.
type printer struct {
	buf   []byte
	world *world
	names [2]string // of the workers, in the order in which they are printed
}

func (w *world) print(buf []byte, first, second int) []byte {
	p := printer{buf: buf, world: w, names: [2]string{w.scene.workers[first], w.scene.workers[second]}}
	p.bus(&w.entries, w.bus)
	if k := w.kept; k != nil && w.faults > 0 {
		p.bus(&k.entries, k.bus)
	}
	p.handling(&w.workers[first])
	p.handling(&w.workers[second])
	for _, e := range w.gateway.enrollments[:w.gateway.n] {
		p.enrollment(&e)
	}
	p.flags(w.operator, w.replayed, w.resolved, w.missed, w.denied)
	return p.buf
}

// bus appends the content of a bus.
func (p *printer) bus(entries *[2]entry, messages []queued) {
	for order := range entries[:p.world.scene.orders()] {
		p.entry(&entries[order])
	}
	p.num(int64(len(messages)))
	for i := range messages {
		m := &messages[i]
		p.num(int64(m.order), int64(m.generation()), int64(m.inFlight))
		p.flags(m.again, m.byHand != nil, m.byHand != nil && m.byHand.Certificate != nil, m.id <= entries[m.order].lostTo)
		p.time(m.after, 0)
		p.wakeup(m.wakeup)
	}
}

func (p *printer) num(ns ...int64) {
	for _, n := range ns {
		p.buf = binary.AppendVarint(p.buf, n)
	}
}

func (p *printer) text(ss ...string) {
	for _, s := range ss {
		p.buf = append(append(p.buf, s...), 0)
	}
}

func (p *printer) flags(fs ...bool) {
	n := int64(0)
	for i, f := range fs {
		if f {
			n |= 1 << i
		}
	}
	p.num(n)
}

// time appends a time relative to now. Times longer ago than that are equal.
func (p *printer) time(t time.Time, ago time.Duration) {
	if t.IsZero() {
		p.num(1)
		return
	}
	p.num(int64(max(t.Sub(p.world.now), ago)/time.Millisecond) << 1)
}

func (p *printer) owner(name string) {
	switch name {
	case "":
		p.num(0)
	case p.names[0]:
		p.num(1)
	default:
		p.num(2)
	}
}

func (p *printer) entry(e *entry) {
	p.stored(e.record)
	p.result(e.result)
	p.wakeup(e.wakeup)
	p.text(e.letters...)
	p.text(e.audits...)
	p.num(int64(e.opened), int64(len(e.letters)), int64(len(e.audits)))
	p.flags(e.excuse, e.lost, e.orphan, e.record != nil && e.record.Revision <= e.lostTo)
	for g := range e.opened + 1 {
		p.num(int64(e.posts[g]), int64(e.counts[g]))
		if e.counts[g] == 0 {
			p.time(e.began[g], -p.world.scene.MaxWait)
		}
	}
}

func (p *printer) stored(s *Stored) {
	if s == nil {
		p.num(0)
		return
	}
	if s.Phase == Submitting {
		p.time(s.At, -p.world.scene.Lease-p.world.scene.EventDelay)
	}
	p.record(&s.Record)
}

func (p *printer) record(r *Record) {
	p.text(string(r.Phase), string(r.Kind), r.TrackingID, string(r.Outcome), r.Serial)
	p.num(int64(r.Generation), int64(r.Submissions), int64(r.Resubmissions), int64(r.Tries), int64(r.Waited/time.Millisecond), int64(r.Noes))
	p.owner(r.Owner)
	p.flags(r.PossibleDuplicate, r.Cause != nil, r.Request != nil, r.Conclusion != nil)
	if r.Phase == Indeterminate {
		p.time(r.SubmittedAt, -p.world.scene.Lease-p.world.scene.EventDelay)
	}
	p.time(r.Deadline, 0)
	p.time(r.NoSince, -noTime)
	if r.Cause != nil {
		p.text(r.Cause.Code)
	}
	if c := r.Conclusion; c != nil {
		p.text(string(c.Reason))
		p.result(c.Result)
	}
}

func (p *printer) result(r *entrustbus.Result) {
	if r == nil {
		p.num(0)
		return
	}
	p.text(string(r.Outcome), r.TrackingID, r.Serial)
	p.num(int64(r.Replay), int64(r.Submissions))
	p.flags(r.PossibleDuplicate, r.Error != nil)
	if r.Error != nil {
		p.text(r.Error.Code)
	}
}

// enrollment appends what polls and look-ups can still show of it.
func (p *printer) enrollment(e *enrollment) {
	findable := p.world.scene.canLookUp && (e.state == issued || e.state == wrong)
	p.num(int64(e.generation))
	p.flags(e.state == declined, e.told)
	if e.told || findable {
		p.num(int64(e.state))
	}
	if findable {
		p.time(e.at, -p.world.scene.EventDelay)
	}
}

func (p *printer) wakeup(w *Wakeup) {
	if w == nil {
		p.num(0)
		return
	}
	observed := false
	for i := range p.world.entries {
		observed = observed || w.Observed != 0 && p.world.stored(i).Revision == w.Observed
	}
	p.text(string(w.Lane), w.TrackingID)
	p.num(int64(w.Generation), int64(w.Polls))
	p.flags(observed, w.Request != nil)
	p.time(w.Due, -time.Second)
	p.time(w.Deadline, -time.Second)
}

func (p *printer) handling(h *handling) {
	p.num(int64(h.stage))
	if h.stage == idle {
		return
	}
	at := int64(-1)
	for i := range p.world.bus {
		if p.world.bus[i].id == h.message {
			at = int64(i)
		}
	}
	p.num(at, int64(h.order), int64(h.kind), int64(h.next))
	p.flags(h.again, h.slow, h.byHand != nil, h.began, h.refused, h.remains.Wakeup != nil, h.remains.Forgotten, h.since)
	current := p.world.stored(h.order).Revision == h.cur.Revision
	p.flags(current)
	if !current {
		p.stored(h.cur)
	}
	p.result(h.remains.Result)
	p.result(h.stands)
	if h.request != nil {
		p.num(int64(h.request.Generation), int64(h.request.Deliveries))
	}
	p.wakeup(h.wakeup)
	if h.call != nil {
		p.call(h.call)
	}
	if h.answer != nil {
		p.num(int64(h.answer.Word))
		p.text(h.answer.TrackingID)
		p.flags(h.answer.Written)
	}
	if h.target != nil {
		p.text(string(h.target.Phase), string(h.target.Outcome))
	}
	if h.written != nil {
		p.flags(p.world.stored(h.order).Revision == h.written.Revision)
	}
	if d := h.decision; d != nil && h.stage == acting {
		p.decision(d, h.next)
	}
	if h.outer != nil {
		p.handling(h.outer)
	}
}

func (p *printer) call(c *Call) {
	p.text(string(c.Op))
	p.owner(c.Owner)
	p.num(int64(c.Generation), int64(c.Submission), int64(c.Polls))
	p.flags(c.Last)
}

// decision appends the steps that are still to do.
func (p *printer) decision(d *Decision, next int) {
	for _, s := range p.world.scene.steps[next:] {
		if !d.Has(s) {
			continue
		}
		p.text(string(s))
		switch s {
		case StepRecord:
			p.record(d.Record)
		case StepLetter:
			p.text(d.Letter.ID)
		case StepResult:
			p.result(d.Result.Result)
		case StepWakeup:
			p.wakeup(d.Wakeup)
		case StepSettle:
			p.num(int64(d.Settle.Verb), int64(d.Settle.After/time.Millisecond))
		}
	}
	if d.Keep != nil {
		p.num(1)
	}
	if d.Call != nil {
		p.call(d.Call)
	}
}
