package order

import (
	"strconv"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// gateway holds at most a few enrollments, each of one POST.
type gateway struct {
	enrollments [6]enrollment
	n           int
}

type enrollment struct {
	state      enrolled
	generation int
	tracking   string // the id of its polls
	at         time.Time
	told       bool // a worker got the tracking id
	ours       bool // an issue request created it
}

type enrolled byte

const (
	pending enrolled = iota + 1
	issued
	declined
	wrong
)

// created counts the enrollments that a worker created in generations up to this one, without
// those that an approver declined.
func (g *gateway) created(generation int) (n int) {
	for _, e := range g.enrollments[:g.n] {
		if e.ours && e.generation <= generation && e.state != declined {
			n++
		}
	}
	return n
}

// enroll creates an enrollment and returns its tracking id.
func (w *world) enroll(generation int, s enrolled) string {
	g := &w.gateway
	if g.n == len(g.enrollments) {
		return ""
	}
	id := "T" + strconv.Itoa(g.n)
	g.enrollments[g.n] = enrollment{state: s, generation: generation, tracking: id, at: w.now, ours: true}
	g.n++
	return id
}

// branch is one possible next state of the world.
type branch struct {
	name  string
	apply func(w *world) *Answer
}

// answers returns every answer to the call of worker i, with its consequences. The first one is
// definite: the fair run uses it.
func (w *world) answers(i int) []branch {
	h := &w.workers[i]
	switch h.call.Op {
	case OpEnroll, OpRevoke:
		// The last byte of a request is withheld until the lease was checked.
		if !w.now.Before(h.cur.At.Add(h.cur.Lease)) && !w.scene.mutant.callsAfterLease {
			return []branch{{"not written", func(*world) *Answer { return &Answer{Word: NotAccepted, Error: fault} }}}
		}
		if h.call.Op == OpRevoke {
			return revocations
		}
		return w.enrollments(h.order, h.call.Generation)
	case OpPoll:
		return w.polls(h.cur.TrackingID)
	}
	return w.lookUps(h.order)
}

// said is a branch without a change at the gateway. Its answer may excuse an end as
// unconfirmed.
func said(name string, order int, a Answer) branch {
	return branch{name, func(w *world) *Answer {
		switch a.Word {
		case Refused, NotFound, NoAnswer, Malformed, Unsearchable, NoMatch:
			w.entries[order].excuse = true
		}
		given := a
		return &given
	}}
}

// enrollments are the answers to a POST.
func (w *world) enrollments(order, generation int) []branch {
	// post creates an enrollment unless s is 0, and answers.
	post := func(name string, s enrolled, tracked bool, a Answer) branch {
		return branch{name, func(w *world) *Answer {
			given := a
			w.entries[order].posts[generation]++
			if s != 0 {
				id := w.enroll(generation, s)
				if tracked && id != "" {
					given.TrackingID = id
					w.gateway.enrollments[w.gateway.n-1].told = true
				}
			}
			if a.Word == NoAnswer || a.Word == Malformed && !tracked {
				w.entries[order].excuse = true
			}
			return &given
		}}
	}
	unknown := pending
	if w.scene.ApprovalNever {
		unknown = issued
	}
	all := []branch{
		post("issued", issued, true, Answer{Word: Issued, Certificate: leaf}),
		post("declined", declined, true, Answer{Word: Declined, Error: fault}),
		post("wrong", wrong, false, Answer{Word: Wrong, Serial: "bad", Error: fault}),
		post("malformed with id", unknown, true, Answer{Word: Malformed, Error: fault}),
		post("malformed", unknown, false, Answer{Word: Malformed, Error: fault}),
		post("no answer, accepted", issued, false, Answer{Word: NoAnswer, Error: fault}),
		post("no answer, not accepted", 0, false, Answer{Word: NoAnswer, Error: fault}),
		post("refused", 0, false, Answer{Word: Refused, Error: fault}),
		post("not accepted", 0, false, Answer{Word: NotAccepted, Written: true, Error: fault}),
		{"not written", func(*world) *Answer { return &Answer{Word: NotAccepted, Error: fault} }},
	}
	if !w.scene.ApprovalNever {
		all = append(all,
			post("pending", pending, true, Answer{Word: Pending}),
			post("no answer, pending", pending, false, Answer{Word: NoAnswer, Error: fault}))
	}
	return all
}

// revocations are the answers to a revocation.
var revocations = []branch{
	said("revoked", watched, Answer{Word: Revoked}),
	said("refused", watched, Answer{Word: Refused, Error: fault}),
	said("not accepted", watched, Answer{Word: NotAccepted, Written: true, Error: fault}),
	said("not written", watched, Answer{Word: NotAccepted, Error: fault}),
	said("no answer", watched, Answer{Word: NoAnswer, Error: fault}),
	said("malformed", watched, Answer{Word: Malformed, Error: fault}),
}

// polls are the answers to a poll by a tracking id.
func (w *world) polls(tracking string) []branch {
	at := -1
	for i, e := range w.gateway.enrollments[:w.gateway.n] {
		if e.tracking == tracking {
			at = i
		}
	}
	unknown := []branch{
		said("not found", watched, Answer{Word: NotFound, Error: fault, OthersAnswered: true}),
		said("not accepted", watched, Answer{Word: NotAccepted, Error: fault}),
		said("no answer", watched, Answer{Word: NoAnswer, Error: fault}),
		said("malformed", watched, Answer{Word: Malformed, Error: fault}),
	}
	if at < 0 {
		return unknown
	}
	become := func(name string, s enrolled, a Answer) branch {
		a.TrackingID = tracking
		return branch{name, func(w *world) *Answer {
			w.gateway.enrollments[at].state = s
			given := a
			return &given
		}}
	}
	var known []branch
	state := w.gateway.enrollments[at].state
	for _, b := range []struct {
		s enrolled
		branch
	}{
		{issued, become("issued", issued, Answer{Word: Issued, Certificate: leaf})},
		{pending, become("pending", pending, Answer{Word: Pending})},
		{declined, become("declined", declined, Answer{Word: Declined, Error: fault})},
		{wrong, become("wrong", wrong, Answer{Word: Wrong, Serial: "bad", Error: fault})},
	} {
		if state == pending || state == b.s {
			known = append(known, b.branch)
		}
	}
	if w.scene.kind == entrustbus.KindTrack {
		known = append(known, said("wrong CSR", watched, Answer{Word: WrongCSR, Error: fault}))
	}
	return append(known, append(unknown, said("refused", watched, Answer{Word: Refused, Error: fault, OthersAnswered: true}))...)
}

// lookUps are the answers to a look-up. It finds a certificate, the right one or not, once the
// gateway's events show it.
func (w *world) lookUps(order int) []branch {
	all := []branch{said("no match", order, Answer{Word: NoMatch})}
	for _, e := range w.gateway.enrollments[:w.gateway.n] {
		if e.ours && (e.state == issued || e.state == wrong) && !w.now.Before(e.at.Add(w.scene.EventDelay)) {
			all[0] = said("found", order, Answer{Word: Issued, Certificate: leaf, TrackingID: e.tracking})
			if e.state == wrong {
				all[0] = said("found wrong", order, Answer{Word: Wrong, Serial: "bad", Error: fault})
			}
			if w.faults > 0 && w.scene.has(lateEvents) {
				all = append(all, branch{"late events", func(w *world) *Answer {
					w.faults--
					w.missed, w.entries[order].excuse = true, true
					return &Answer{Word: NoMatch}
				}})
			}
			break
		}
	}
	return append(all,
		said("look-up not answered", order, Answer{Word: NoAnswer, Error: fault}),
		said("look-up not accepted", order, Answer{Word: NotAccepted, Error: fault}),
		said("unsearchable", order, Answer{Word: Unsearchable, Error: fault}))
}

var (
	fault = &entrustbus.ResultError{Class: entrustbus.ClassOther, Code: "scripted", Message: "as the script says"}
	leaf  = &Certificate{PEM: "leaf", Serial: "a1", SerialDecimal: "161"}
)
