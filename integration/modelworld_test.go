package integration

import (
	"fmt"
	"slices"
)

// The world of the model: what is on the bus, in the ledger and at the gateway,
// for one order "o" and the cancellation "c" of it.

// mWord is the outcome of an order.
type mWord string

const (
	mIssued      mWord = "issued"
	mRejected    mWord = "rejected"
	mFailed      mWord = "failed"
	mExpired     mWord = "expired"
	mUnconfirmed mWord = "unconfirmed"
	mCancelled   mWord = "cancelled"
)

// mMsg is a message of a work queue, there until it is acknowledged.
type mMsg struct {
	what   string // "issue", "alien" (other content under the same id), "cancel", "due"
	replay int
	inHand bool
}

// mRecord is a ledger record.
type mRecord struct {
	state       string // "open", "parked", "closed"
	replay      int
	posting     bool
	leased      bool // until the lease is over
	submissions int
	enrollment  int // what the tracking id names, -1 for none
	answer      *mResult
	outcome     mWord
	nonce, rev  int
}

// mResult is a message on a result subject, or one about to be.
type mResult struct {
	replay     int
	outcome    mWord
	enrollment int
	letter     bool // a dead letter belongs to it
}

// letterID is the message id of the dead letter that belongs to a result.
func (r *mResult) letterID(key string) string {
	return fmt.Sprintf("%s.%d.%s", key, r.replay, r.outcome)
}

// mPost is one enrollment call, as the gateway sees it.
type mPost struct {
	replay   int
	by       *mHandler
	decided  bool // whether it was accepted is certain
	accepted bool // something was created
	told     bool // the worker was told that it provably was not taken
}

// mConfig is how workers and gateway are set up.
type mConfig struct {
	canFind, approvalNever, resubmit bool
}

// mRules is the order of effects in each part of a handler, and what is looked at
// before one. The checks vary it, to see that the model would notice.
type mRules struct {
	submit, finish, park, repark []string
	dueAsksLedger                bool
	resultIsCompared             bool
	replayFollows                bool
	lookUpSettles                bool
	slotHasGeneration            bool
	cancelSparesCalls            bool
}

// workerRules are those of the worker: see finish, await, park, issue and due in
// internal/consumer.
func workerRules() mRules {
	return mRules{
		submit: []string{"open", "post", "answer"},
		finish: []string{"keep", "letter", "result", "close", "disarm", "ack"},
		park:   []string{"parked", "armed", "ack"},
		repark: []string{"armed", "ack"},

		dueAsksLedger: true, resultIsCompared: true, replayFollows: true, lookUpSettles: true, slotHasGeneration: true,
		cancelSparesCalls: true,
	}
}

type mWorld struct {
	mConfig
	rules mRules
	pick  func(what string, n int) int // from 0 to n-1

	queue       []*mMsg
	armed       bool
	armedReplay int
	results     map[string][]mResult
	letters     map[string]bool // by message id
	records     map[string]*mRecord
	posts       []*mPost
	enrollments []mWord // "" while pending; an index is a tracking id
	late        bool    // the deadline has passed
	handlers    []*mHandler

	asked     map[string]int // highest generation that was published, by order
	aliens    int
	clock     int
	closedAt  int // when the generation in force was closed, 0 while it lives
	nonces    int
	calm      bool
	history   []mNote
	violation string
}

func newWorld(cfg mConfig, rules mRules, pick func(string, int) int) *mWorld {
	w := &mWorld{
		mConfig: cfg, rules: rules, pick: pick,
		results: map[string][]mResult{}, letters: map[string]bool{}, records: map[string]*mRecord{}, asked: map[string]int{},
	}
	w.publish("issue", 0)
	return w
}

func (w *mWorld) violate(format string, args ...any) {
	if w.violation == "" {
		w.violation = fmt.Sprintf(format, args...)
	}
}

func (w *mWorld) note(format string, args ...any) {
	w.clock++
	w.history = append(w.history, mNote{format, args})
}

// mNote is one line of what happened, not written out until it is asked for.
type mNote struct {
	format string
	args   []any
}

// chance is one of n, never so once the world calms down.
func (w *mWorld) chance(what string, n int) bool { return !w.calm && w.pick(what, n) == 0 }

func orderOf(what string) string {
	if what == "cancel" {
		return "c"
	}
	return "o"
}

// publish is a producer, or an operator who replays.
func (w *mWorld) publish(what string, replay int) {
	w.note("publish %s %d", what, replay)
	w.queue = append(w.queue, &mMsg{what: what, replay: replay})
	if what == "alien" {
		w.aliens++
		return
	}
	if at, ok := w.asked[orderOf(what)]; !ok || replay > at {
		w.asked[orderOf(what)] = replay
	}
}

// write is a compare-and-set on the ledger. It reports whether the writer may go on;
// a lost acknowledgement has it try again under the same nonce.
func (w *mWorld) write(h *mHandler, key string, r *mRecord) (done, conflict bool) {
	now := w.records[key]
	if !h.unsure {
		w.nonces++
		r.nonce = w.nonces
	}
	switch {
	case h.unsure && now != nil && now.nonce == r.nonce: // our own, whose ack was lost
		r.rev = now.rev
	case now == nil && r.rev == 0, now != nil && now.rev == r.rev:
		if now != nil && now.state == "closed" && r.replay < now.replay {
			w.violate("the record of %s went back from generation %d to %d", key, now.replay, r.replay)
		}
		r.rev++
		h.lapsed = false
		stored := *r
		w.records[key] = &stored
		if key == "o" {
			if r.state != "closed" {
				w.closedAt = 0
			} else if w.closedAt == 0 {
				w.closedAt = w.clock
			}
		}
		if w.chance("the ledger's ack is lost", 10) {
			h.unsure, r.rev = true, r.rev-1
			return false, false
		}
	default:
		h.unsure = false
		return false, true
	}
	h.unsure = false
	return true, false
}

// respond is a publish on a result subject, by compare-and-set on its length.
func (w *mWorld) respond(key string, expected int, r mResult) bool {
	log := w.results[key]
	if w.rules.resultIsCompared && len(log) != expected {
		return false
	}
	if len(log) > 0 && log[len(log)-1].replay >= r.replay {
		w.violate("I2: a second result (%s) of generation %d of %s, after %s of %d", r.outcome, r.replay, key, log[len(log)-1].outcome, log[len(log)-1].replay)
	}
	w.results[key] = append(log, r)
	return true
}

// post is a call that reaches for the gateway. I3 is checked against what truly
// became of the earlier ones.
func (w *mWorld) post(h *mHandler) *mPost {
	for _, p := range w.posts {
		switch {
		case p.told:
		case p.replay < h.replay:
			log := w.results["o"]
			i := slices.IndexFunc(log, func(r mResult) bool { return r.replay >= p.replay && r.replay < h.replay })
			if i < 0 {
				w.violate("I3: generation %d is submitted before %d ended", h.replay, p.replay)
			} else if last := log[len(log)-1]; last.outcome == mIssued || last.enrollment >= 0 && last.outcome != mRejected {
				w.violate("I3: generation %d is submitted though the gateway has the order, which ended as %s", h.replay, last.outcome)
			}
		case w.resubmit:
		case w.canFind && w.approvalNever && p.decided && !p.accepted:
		default:
			w.violate("I3: a second submission of generation %d (the first: decided %v, accepted %v)", h.replay, p.decided, p.accepted)
		}
	}
	if r := w.records["o"]; r != nil && r.replay >= h.replay && (r.outcome == mCancelled || r.answer != nil && r.answer.outcome == mCancelled) {
		w.violate("an order that was cancelled is submitted")
	}
	p := &mPost{replay: h.replay, by: h}
	w.posts = append(w.posts, p)
	return p
}

// enroll accepts a call.
func (w *mWorld) enroll(p *mPost, state mWord) int {
	p.decided, p.accepted = true, state != mRejected
	w.enrollments = append(w.enrollments, state)
	return len(w.enrollments) - 1
}

// decide is what the gateway makes, in its own time, of calls that nobody waits for.
func (w *mWorld) decide() {
	for _, p := range w.posts {
		if p.decided || p.by != nil {
			continue
		}
		if p.decided = true; w.pick("a late call is accepted", 2) == 0 {
			w.note("late acceptance")
			w.enroll(p, w.newEnrollment())
		}
	}
}

func (w *mWorld) newEnrollment() mWord {
	if !w.approvalNever && w.pick("it waits for approval", 2) == 0 {
		return ""
	}
	return mIssued
}

// leaseOver passes the time that a lease lasts: no call outlives it.
func (w *mWorld) leaseOver() {
	w.note("leases over")
	for _, h := range w.handlers {
		h.lapsed = true
		if h.call != nil {
			h.call.by, h.call = nil, nil
		}
	}
	for _, r := range w.records {
		r.leased = false
	}
}

// fire turns the slot into a wake-up.
func (w *mWorld) fire() {
	if w.armed {
		w.note("slot fires")
		w.armed = false
		w.queue = append(w.queue, &mMsg{what: "due", replay: w.armedReplay})
	}
}

// wakes reports whether something on the bus wakes this generation up.
func (w *mWorld) wakes(replay int) bool {
	if !w.rules.slotHasGeneration {
		replay = 0
	}
	return w.armed && w.armedReplay >= replay || slices.ContainsFunc(w.queue, func(m *mMsg) bool { return m.what == "due" && m.replay >= replay })
}

// deliver hands a message to a worker; redelivered to one while another still is at it.
func (w *mWorld) deliver(m *mMsg) {
	w.note("deliver %s %d", m.what, m.replay)
	m.inHand = true
	h := &mHandler{w: w, msg: m, replay: m.replay, key: orderOf(m.what), since: w.clock, expected: -1}
	w.handlers = append(w.handlers, h)
	switch m.what {
	case "due":
		h.do(h.wake)
	case "cancel":
		h.do(h.openCancel)
	case "alien":
		h.do(h.openAlien)
	default:
		h.program(w.rules.submit...)
	}
}

// leave takes a handler out of the world, as a death or its end does.
func (w *mWorld) leave(h *mHandler) {
	if h.call != nil {
		h.call.by = nil // the gateway may still accept it
	}
	h.msg.inHand = false
	w.handlers = slices.DeleteFunc(w.handlers, func(x *mHandler) bool { return x == h })
	for _, other := range w.handlers {
		if other.msg == h.msg {
			h.msg.inHand = true
		}
	}
}
