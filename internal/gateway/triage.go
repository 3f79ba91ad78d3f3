package gateway

import "slices"

// meaning is what the body of an answer says, whatever its status.
type meaning int

const (
	meansAnything  meaning = iota // in a row: any body
	meansNothing                  // not understood: no JSON, or of a shape that says nothing
	meansError                    // an error body and no certificate
	meansIssued                   // holds a certificate
	meansHollow                   // promises a certificate and holds none
	meansRejected                 // a rejected word
	meansWaiting                  // a pending or unknown word, and an id to ask by
	meansUntracked                // a pending or unknown word without an id to ask by
	meansDone                     // what was asked for, where that is no certificate
	meansLicence                  // an error body that speaks of the licence's limit
	meansRevoked                  // an error body that says: is revoked already
	meansForeign                  // a 4xx without an error body: of something in front of the gateway, or in its place
	meansAway                     // the same, and the gateway does not answer a probe
	meansStranger                 // the same, and a probe is not authorized
	meansCertless                 // a page about the client's certificate
	meansYoung                    // any error, to a poll within the grace after the submission
)

// end is what the caller gets.
type end struct {
	state State // of an Answer
	fate  Fate  // of an *Error; with neither, the call is simply done
	class string
}

// statuses is a list of status ranges, both ends included. Nil matches all.
type statuses [][2]int

func (s statuses) has(status int) bool {
	return s == nil || slices.ContainsFunc(s, func(r [2]int) bool { return r[0] <= status && status <= r[1] })
}

// row is one rule of the triage table. Its zero fields match everything.
type row struct {
	name  string // unique; the first column in docs/gateway.md
	ops   []Op
	phase phase
	on    statuses
	body  meaning
	end   end
}

func (r row) matches(op Op, phase phase, status int, body meaning) bool {
	return (r.ops == nil || slices.Contains(r.ops, op)) &&
		(r.phase == 0 || r.phase == phase) &&
		r.on.has(status) &&
		(r.body == meansAnything || r.body == body)
}

// judge finds the row that decides about what came back.
func judge(op Op, phase phase, status int, body meaning) row {
	i := slices.IndexFunc(triage, func(r row) bool { return r.matches(op, phase, status, body) })
	return triage[i] // the last row matches everything
}

var (
	only2xx = statuses{{200, 299}}
	all4xx  = statuses{{400, 499}}
	orders  = []Op{OpEnroll, OpPoll}
	probed  = []Op{OpEnroll, OpRevoke, OpFind}
)

// triage is the whole judgement about what the gateway answers, or does not: the
// first row that matches decides. Where it is in doubt whether an enrollment was
// accepted the fate is Unknown, for a wrong NotAccepted makes a second certificate.
// A class of "" is timeout or network, by the error.
var triage = []row{
	// No answer, and none of it the request's fault.
	{name: "key pair unreadable", phase: phaseNoKeyPair, end: end{fate: Unauthorized, class: classAuth}},
	{name: "client certificate refused in TLS", phase: phaseBadClient, end: end{fate: Unauthorized, class: classAuth}},
	{name: "not written to its end", phase: phaseUnsent, end: end{fate: NotAccepted}},
	{name: "written, no answer", phase: phaseNoAnswer, end: end{fate: Unknown}},
	{name: "2xx broken off", phase: phaseCut, on: only2xx, end: end{fate: Unknown}},

	// 2xx: the body decides. A certificate outweighs everything else, save a rejection.
	{name: "2xx, rejected word", ops: orders, on: only2xx, body: meansRejected, end: end{state: Rejected, class: classPolicy}},
	{name: "2xx, action rejected", ops: []Op{OpRevoke}, on: only2xx, body: meansRejected, end: end{fate: Refused, class: classPolicy}},
	{name: "2xx, certificate", ops: orders, on: only2xx, body: meansIssued, end: end{state: Issued}},
	{name: "2xx, error body", on: only2xx, body: meansError, end: end{fate: Refused, class: classOther}},
	{name: "2xx, licence limit", ops: orders, on: only2xx, body: meansLicence, end: end{fate: Refused, class: classPolicy}},
	{name: "2xx, is revoked already", ops: []Op{OpRevoke}, on: only2xx, body: meansRevoked},
	{name: "2xx, issued word without certificate", ops: orders, on: only2xx, body: meansHollow, end: end{fate: Unreadable, class: classOther}},
	{name: "2xx, pending or unknown word", ops: orders, on: only2xx, body: meansWaiting, end: end{state: Pending}},
	{name: "2xx, pending without tracking id", ops: orders, on: only2xx, body: meansUntracked, end: end{fate: Unreadable, class: classOther}},
	{name: "2xx, done", ops: []Op{OpRevoke, OpFind, OpProbe}, on: only2xx, body: meansDone},
	{name: "2xx, not understood", on: only2xx, end: end{fate: Unreadable, class: classOther}},

	// 3xx are not followed. 302 and 303 may stand for work that was done.
	{name: "301, 307, 308", on: statuses{{301, 301}, {307, 308}}, end: end{fate: NotAccepted, class: classOther}},
	{name: "other 3xx", on: statuses{{300, 399}}, end: end{fate: Unknown, class: classOther}},

	// 4xx. A licence that is used up blocks this order, not the worker, whatever the
	// status: it goes before 401 and 429.
	{name: "4xx, licence limit", ops: orders, on: all4xx, body: meansLicence, end: end{fate: Refused, class: classPolicy}},
	{name: "4xx, is revoked already", ops: []Op{OpRevoke}, on: all4xx, body: meansRevoked},
	{name: "400 about the client's certificate, 495, 496", on: statuses{{400, 400}, {495, 496}}, body: meansCertless, end: end{fate: Unauthorized, class: classAuth}},
	{name: "401, 403, 407", on: statuses{{401, 401}, {403, 403}, {407, 407}}, end: end{fate: Unauthorized, class: classAuth}},
	{name: "404 within the grace", ops: []Op{OpPoll}, on: statuses{{404, 404}}, body: meansYoung, end: end{state: Pending}},
	{name: "408", on: statuses{{408, 408}}, end: end{fate: Unknown, class: classTimeout}},
	{name: "421, 425", on: statuses{{421, 421}, {425, 425}}, end: end{fate: NotAccepted, class: class4xx}},
	{name: "429", on: statuses{{429, 429}}, end: end{fate: Throttled, class: classRateLimited}},
	// Any other 4xx ends the order, so it must be the gateway's own: a restarting servlet
	// container and an ingress without a backend answer 404 for all. To poll again is
	// harmless; for the rest a probe tells, see Client.verdict.
	{name: "other 4xx without error body", ops: []Op{OpPoll}, on: all4xx, body: meansForeign, end: end{fate: Unreadable, class: class4xx}},
	{name: "other 4xx without error body, client not accepted by a probe", ops: probed, on: all4xx, body: meansStranger, end: end{fate: Unauthorized, class: classAuth}},
	{name: "other 4xx without error body, probe not answered", ops: probed, on: all4xx, body: meansAway, end: end{fate: NotAccepted, class: class4xx}},
	{name: "404, 410 of an order", ops: []Op{OpPoll}, on: statuses{{404, 404}, {410, 410}}, end: end{fate: NotFound, class: class4xx}},
	{name: "400, 422", on: statuses{{400, 400}, {422, 422}}, end: end{fate: Refused, class: classValidation}},
	{name: "other 4xx", on: all4xx, end: end{fate: Refused, class: class4xx}},

	// 5xx. Only 501 and 503 say that nothing was done.
	{name: "501", on: statuses{{501, 501}}, end: end{fate: Refused, class: class5xx}},
	{name: "503", on: statuses{{503, 503}}, end: end{fate: NotAccepted, class: class5xx}},
	{name: "other 5xx", on: statuses{{500, 599}}, end: end{fate: Unknown, class: class5xx}},

	{name: "any other status", end: end{fate: Unknown, class: classOther}},
}
