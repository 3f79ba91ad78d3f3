package integration

import "slices"

// mHandler is one message in a worker's hand: what it knows, and what it does next.
// Each step is one effect on the world, or one read of it; between any two of them
// anything may happen, the worker's death included.
type mHandler struct {
	w      *mWorld
	msg    *mMsg
	key    string // the order that it works on
	replay int
	since  int // when it was delivered
	todo   []mStep

	rec      *mRecord // as read or written last
	unsure   bool     // a write's acknowledgement was lost
	call     *mPost   // under way
	lapsed   bool     // its lease is over: no call of it is made, or lives
	result   mResult
	expected int // length of the result log as read, -1: not read
	own      *mRecord
	then     func() // after the end of the order that a cancellation ends
}

type mStep struct {
	name string
	run  func()
}

func (h *mHandler) do(run func()) { h.todo = []mStep{{"…", run}} }

// program sets the steps to come by their names.
func (h *mHandler) program(names ...string) {
	h.todo = nil
	for _, name := range names {
		h.todo = append(h.todo, mStep{name, map[string]func(){
			"open": h.open, "post": h.post, "answer": h.answer,
			"keep": h.keep, "letter": h.letter, "result": h.publish, "close": h.close, "disarm": h.disarm,
			"parked": h.park, "armed": h.arm, "ack": h.ack,
		}[name]})
	}
}

// step does the next thing. A step that is to be done again puts itself back.
func (h *mHandler) step() {
	if len(h.todo) == 0 {
		h.w.leave(h)
		return
	}
	next := h.todo[0]
	h.todo = h.todo[1:]
	h.w.note("%s %d: %s", h.msg.what, h.replay, next.name)
	next.run()
}

func (h *mHandler) again(name string, run func()) {
	h.todo = append([]mStep{{name, run}}, h.todo...)
}

func (h *mHandler) nak() { h.todo = nil }

func (h *mHandler) ack() {
	if !h.w.chance("the ack is lost", 8) {
		h.w.queue = slices.DeleteFunc(h.w.queue, func(m *mMsg) bool { return m == h.msg })
	}
}

// read takes the record from the leader of the ledger.
func (h *mHandler) read(key string) *mRecord {
	if r := h.w.records[key]; r != nil {
		out := *r
		return &out
	}
	return nil
}

// update writes h.rec and goes on, or hands the message back on a conflict.
func (h *mHandler) update(name string, then func()) {
	done, conflict := h.w.write(h, h.key, h.rec)
	switch {
	case conflict:
		h.nak()
	case !done:
		h.again(name, func() { h.update(name, then) })
	case then != nil:
		then()
	}
}

// open is claim: the record first, and what it says where there is one.
func (h *mHandler) open() {
	rest := h.todo
	if h.rec == nil {
		h.rec = &mRecord{state: "open", replay: h.replay, posting: true, leased: true, submissions: 1, enrollment: -1}
	}
	done, conflict := h.w.write(h, h.key, h.rec)
	switch {
	case done:
		h.todo = rest
		return
	case !conflict:
		h.again("open", h.open)
		return
	}
	h.do(func() {
		h.rec = h.read(h.key)
		switch r := h.rec; {
		case h.replay < r.replay:
			h.program("ack")
		case h.replay > r.replay:
			h.reopen(rest)
		case r.state == "closed":
			h.program("ack")
		case r.state == "parked":
			h.do(func() {
				if h.w.wakes(r.replay) {
					h.program("ack")
				} else {
					h.program("armed", "ack")
				}
			})
		default:
			h.do(func() { h.takeOver(rest) })
		}
	})
}

// begin opens a record again for a call.
func (h *mHandler) begin(rest []mStep) {
	h.rec.state, h.rec.posting, h.rec.leased = "open", true, true
	h.rec.submissions = max(h.rec.submissions, 1)
	h.do(func() { h.update("begin", func() { h.todo = rest }) })
}

// reopen begins the next generation of a closed order.
func (h *mHandler) reopen(rest []mStep) {
	r := h.rec
	if r.state != "closed" || r.outcome == mIssued {
		h.program("ack")
		return
	}
	follow := r.enrollment >= 0 && (r.outcome == mUnconfirmed || r.outcome == mExpired || r.outcome == mCancelled)
	r.replay, r.outcome, r.answer = h.replay, "", nil
	if follow && h.w.rules.replayFollows {
		h.program(h.w.rules.park...)
		return
	}
	r.enrollment, r.submissions = -1, 0
	h.begin(rest)
}

// takeOver goes on with an order that somebody left open.
func (h *mHandler) takeOver(rest []mStep) {
	log := h.w.results[h.key]
	switch {
	case len(log) > 0 && log[len(log)-1].replay >= h.replay:
		h.result = log[len(log)-1]
		h.program("close", "ack")
	case h.rec.answer != nil:
		h.finish(*h.rec.answer)
	case h.rec.leased:
		h.nak()
	case h.rec.posting:
		h.rec.leased = true
		h.do(func() { h.update("take over", func() { h.do(h.reconcile) }) })
	default:
		h.begin(rest)
	}
}

func (h *mHandler) post() {
	if !h.lapsed {
		h.call = h.w.post(h)
	}
}

// answer is what comes of a call: an answer, a lost one, or none in time.
func (h *mHandler) answer() {
	p, w := h.call, h.w
	if p == nil {
		h.do(h.reconcile)
		return
	}
	kinds := []string{"issued", "issued", "pending", "pending", "rejected", "refused", "not taken", "lost", "lost, not taken"}
	if w.approvalNever {
		kinds = slices.DeleteFunc(kinds, func(k string) bool { return k == "pending" })
	}
	if w.calm {
		kinds = kinds[:1]
	}
	kind := kinds[w.pick("answer", len(kinds))]
	w.note("the gateway: %s", kind)
	h.call, p.by = nil, nil
	switch kind {
	case "issued":
		h.rec.enrollment = w.enroll(p, mIssued)
		h.finish(mResult{outcome: mIssued, enrollment: h.rec.enrollment})
	case "pending":
		h.rec.enrollment = w.enroll(p, "")
		h.program(w.rules.park...)
	case "rejected":
		h.rec.enrollment = w.enroll(p, mRejected)
		h.finish(mResult{outcome: mRejected, enrollment: h.rec.enrollment, letter: true})
	case "refused":
		p.decided, p.told = true, true
		h.finish(mResult{outcome: mFailed, enrollment: -1, letter: true})
	case "not taken":
		p.decided, p.told = true, true
		h.rec.posting = false
		h.do(func() {
			h.update("not taken", func() {
				h.rec.posting, h.rec.leased = true, true
				h.do(func() { h.update("begin", func() { h.program("post", "answer") }) })
			})
		})
	case "lost":
		w.enroll(p, w.newEnrollment())
		h.do(h.reconcile)
	default: // lost, and the gateway has yet to decide
		h.do(h.reconcile)
	}
}

// reconcile finds out what became of a submission whose answer was lost.
func (h *mHandler) reconcile() {
	w := h.w
	if w.canFind {
		// Only a look-up after the settle time proves anything.
		if w.rules.lookUpSettles && slices.ContainsFunc(w.posts, func(p *mPost) bool { return !p.decided }) {
			h.rec.leased = false
			h.update("release", h.nak)
			return
		}
		for i, e := range w.enrollments {
			if e == mIssued {
				h.rec.enrollment = i
				h.finish(mResult{outcome: mIssued, enrollment: i})
				return
			}
		}
		if w.approvalNever {
			h.submitAgain()
			return
		}
	}
	if w.resubmit {
		h.submitAgain()
		return
	}
	h.finish(mResult{outcome: mUnconfirmed, enrollment: -1, letter: true})
}

func (h *mHandler) submitAgain() {
	if h.rec.submissions >= 3 {
		h.finish(mResult{outcome: mUnconfirmed, enrollment: -1, letter: true})
		return
	}
	h.rec.submissions++
	h.rec.posting, h.rec.leased = true, true
	h.do(func() { h.update("resubmit", func() { h.program("post", "answer") }) })
}

// finish ends the order with a result.
func (h *mHandler) finish(r mResult) {
	r.replay = h.rec.replay
	h.result = r
	h.expected = -1
	if r.replay == 0 {
		h.expected = 0
	}
	steps := slices.DeleteFunc(slices.Clone(h.w.rules.finish), func(s string) bool {
		return !r.letter && (s == "keep" || s == "letter") || s == "disarm" && h.rec.state != "parked" || h.then != nil && s == "ack"
	})
	h.program(steps...)
	if h.then != nil {
		h.todo = append(h.todo, mStep{"then", h.then})
	}
}

func (h *mHandler) keep() {
	if h.rec.state == "open" && h.rec.posting && h.rec.answer == nil {
		r := h.result
		h.rec.answer = &r
		h.update("keep", nil)
	} else if h.unsure {
		h.update("keep", nil)
	}
}

func (h *mHandler) letter() {
	h.w.letters[h.result.letterID(h.key)] = true
}

// publish writes the result unless one of its generation stands there.
func (h *mHandler) publish() {
	if h.expected < 0 {
		log := h.w.results[h.key]
		if len(log) > 0 && log[len(log)-1].replay >= h.result.replay {
			h.result = log[len(log)-1]
			return
		}
		h.expected = len(log)
		h.again("result", h.publish)
		return
	}
	if !h.w.respond(h.key, h.expected, h.result) || h.w.chance("the result's ack is lost", 8) {
		h.expected = -1
		h.again("result", h.publish)
	}
}

func (h *mHandler) close() {
	r := h.rec
	r.state, r.outcome, r.replay, r.enrollment = "closed", h.result.outcome, h.result.replay, h.result.enrollment
	r.posting, r.leased, r.answer = false, false, nil
	done, conflict := h.w.write(h, h.key, r)
	switch {
	case done:
	case !conflict:
		h.again("close", h.close)
	default:
		h.again("close", func() {
			now := h.read(h.key)
			if now.state != "closed" && now.replay <= h.result.replay {
				h.rec = now
				h.again("close", h.close)
			}
		})
	}
}

func (h *mHandler) disarm() { h.w.armed = h.w.armed && h.w.armedReplay > h.result.replay }

func (h *mHandler) park() {
	h.rec.state, h.rec.posting, h.rec.leased = "parked", false, false
	rest := h.todo
	h.update("parked", func() { h.todo = rest; h.w.late = h.w.late && h.w.calm })
}

func (h *mHandler) arm() { h.w.armed, h.w.armedReplay = true, h.rec.replay }

// wake is a due message: the ledger says whether the order still waits.
func (h *mHandler) wake() {
	h.rec = h.read("o")
	if h.w.rules.dueAsksLedger && (h.rec.state != "parked" || h.rec.replay != h.replay) {
		h.program("ack")
		return
	}
	h.do(h.poll)
}

func (h *mHandler) poll() {
	w := h.w
	if w.closedAt > 0 && h.since > w.closedAt {
		w.violate("an order that ended as %s is polled by a wake-up that came after its end", w.records["o"].outcome)
	}
	if h.rec.enrollment < 0 {
		h.program("ack")
		return
	}
	state := w.enrollments[h.rec.enrollment]
	switch {
	case w.chance("no answer to the poll", 6):
		h.program(w.rules.repark...)
	case state == mIssued:
		h.finish(mResult{outcome: mIssued, enrollment: h.rec.enrollment})
	case state == mRejected:
		h.finish(mResult{outcome: mRejected, enrollment: h.rec.enrollment, letter: true})
	case w.late:
		h.finish(mResult{outcome: mExpired, enrollment: h.rec.enrollment, letter: true})
	default:
		h.program(w.rules.repark...)
	}
}

func (h *mHandler) openAlien() {
	if h.rec = h.read("o"); h.rec == nil {
		h.nak() // it would be the order itself: that is another case
		return
	}
	h.do(func() {
		h.w.letters["alien"] = true
		h.program("ack")
	})
}

// openCancel is a cancellation: its own record, then the order's end, then its own.
func (h *mHandler) openCancel() {
	if h.rec == nil {
		h.rec = &mRecord{state: "open", submissions: 0, enrollment: -1}
	}
	done, conflict := h.w.write(h, "c", h.rec)
	switch {
	case done:
		h.do(h.cancel)
	case !conflict:
		h.again("open", h.openCancel)
	default:
		h.do(func() {
			h.rec = h.read("c")
			log := h.w.results["c"]
			switch {
			case h.rec.state == "closed":
				h.program("ack")
			case len(log) > 0:
				h.result = log[0]
				h.program("close", "ack")
			default:
				h.do(func() { h.update("begin", func() { h.do(h.cancel) }) })
			}
		})
	}
}

func (h *mHandler) cancel() {
	target := h.read("o")
	h.own = h.rec
	end := func() {
		outcome := mFailed
		if target != nil && target.outcome == mCancelled {
			outcome = mCancelled
		}
		h.key, h.rec, h.then = "c", h.own, nil
		h.finish(mResult{outcome: outcome, enrollment: -1})
	}
	switch {
	case target == nil:
		end()
	case target.state == "open" && (target.posting && h.w.rules.cancelSparesCalls || target.answer != nil):
		h.nak()
	case target.state == "open" || target.state == "parked":
		h.key, h.rec = "o", target
		h.then = func() { target = &mRecord{outcome: h.result.outcome}; end() }
		r := mResult{replay: target.replay, outcome: mCancelled, enrollment: target.enrollment}
		if target.state == "parked" {
			h.finish(r)
			return
		}
		h.rec.answer, h.rec.leased, h.rec.posting = &r, false, false
		h.do(func() { h.update("take", func() { h.finish(r) }) })
	default:
		end()
	}
}
