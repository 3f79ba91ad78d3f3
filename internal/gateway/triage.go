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
	meansDown                     // the CA's status is DOWN
	meansForeign                  // no success, and not in the gateway's own words
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
	all3xx  = statuses{{300, 399}}
	all4xx  = statuses{{400, 499}}
	all5xx  = statuses{{500, 599}}
	orders  = []Op{OpEnroll, OpPoll}
	// repeatable are the operations that may simply be sent again.
	repeatable = []Op{OpPoll, OpRevoke, OpFind, OpProbe}
)

// triage is the whole judgement about what the gateway answers, or does not: the
// first row that matches decides. Where it is in doubt whether an enrollment was
// accepted the fate is Unknown, for a wrong NotAccepted makes a second certificate: only
// the gateway's own words prove that it was not. A proxy may say anything of a request
// that it handed on.
// A class of "" is timeout or network, by the error.
var triage = []row{
	// No answer, and none of it the request's fault.
	{name: "key pair unreadable", phase: phaseNoKeyPair, end: end{fate: Unauthorized, class: classAuth}},
	{name: "client certificate refused in TLS", phase: phaseBadClient, end: end{fate: Unauthorized, class: classAuth}},
	{name: "abandoned before its last byte", phase: phaseAbandoned, end: end{fate: NotAccepted, class: classOther}},
	{name: "not written to its end", phase: phaseUnsent, end: end{fate: NotAccepted}},
	{name: "not processed, says HTTP/2", phase: phaseUnprocessed, end: end{fate: NotAccepted, class: classNetwork}},
	{name: "TLS renegotiation, or certificate asked for after the handshake", phase: phaseClientAuth, end: end{fate: NotAccepted, class: classAuth}},
	{name: "written, no answer", phase: phaseNoAnswer, end: end{fate: Unknown}},
	{name: "2xx broken off", phase: phaseCut, on: only2xx, end: end{fate: Unknown}},

	// 2xx: the body decides. A certificate outweighs everything else, save a rejection.
	{name: "2xx, rejected word", ops: orders, on: only2xx, body: meansRejected, end: end{state: Rejected, class: classPolicy}},
	{name: "2xx, action rejected", ops: []Op{OpRevoke}, on: only2xx, body: meansRejected, end: end{fate: Refused, class: classPolicy}},
	{name: "2xx, certificate", ops: orders, on: only2xx, body: meansIssued, end: end{state: Issued}},
	{name: "2xx, error body", on: only2xx, body: meansError, end: end{fate: Refused, class: classOther}},
	{name: "2xx, licence limit", ops: orders, on: only2xx, body: meansLicence, end: end{fate: Refused, class: classPolicy}},
	{name: "2xx, already revoked", ops: []Op{OpRevoke}, on: only2xx, body: meansRevoked},
	{name: "2xx, issued word without certificate", ops: orders, on: only2xx, body: meansHollow, end: end{fate: Unreadable, class: classOther}},
	{name: "2xx, pending or unknown word", ops: orders, on: only2xx, body: meansWaiting, end: end{state: Pending}},
	{name: "2xx, pending without tracking id", ops: orders, on: only2xx, body: meansUntracked, end: end{fate: Unreadable, class: classOther}},
	{name: "2xx, done", ops: []Op{OpRevoke, OpFind, OpProbe}, on: only2xx, body: meansDone},
	{name: "2xx, CA is down", ops: []Op{OpProbe}, on: only2xx, body: meansDown, end: end{fate: NotAccepted, class: class5xx}},
	{name: "2xx, not understood", on: only2xx, end: end{fate: Unreadable, class: classOther}},

	// What is about the whole gateway, whoever says it. A licence that is used up blocks
	// this order, not the worker, whatever the status: it goes before 401 and 429.
	{name: "4xx, licence limit", ops: orders, on: all4xx, body: meansLicence, end: end{fate: Refused, class: classPolicy}},
	{name: "400, 403, 495, 496 about the client's certificate", on: statuses{{400, 400}, {403, 403}, {495, 496}}, body: meansCertless, end: end{fate: Unauthorized, class: classAuth}},
	{name: "401", on: statuses{{401, 401}}, end: end{fate: Unauthorized, class: classAuth}},
	{name: "429", on: statuses{{429, 429}}, end: end{fate: Throttled, class: classRateLimited}},
	{name: "404 within the grace", ops: []Op{OpPoll}, on: statuses{{404, 404}}, body: meansYoung, end: end{state: Pending}},

	// A server that says no before it has the whole request need not be believed.
	{name: "answered before it was written to its end", phase: phaseEarly, body: meansForeign, end: end{fate: NotAccepted, class: classOther}},

	{name: "408", on: statuses{{408, 408}}, end: end{fate: Unknown, class: classTimeout}},
	// In the gateway's own words. Only 501 and 503 of the 5xx say that nothing was done.
	{name: "4xx or 5xx, already revoked", ops: []Op{OpRevoke}, on: statuses{{400, 599}}, body: meansRevoked},
	{name: "403, own error body", on: statuses{{403, 403}}, body: meansError, end: end{fate: Unauthorized, class: classAuth}},
	{name: "404, 410 of an order, own error body", ops: []Op{OpPoll}, on: statuses{{404, 404}, {410, 410}}, body: meansError, end: end{fate: NotFound, class: class4xx}},
	{name: "400, 422, own error body", on: statuses{{400, 400}, {422, 422}}, body: meansError, end: end{fate: Refused, class: classValidation}},
	{name: "other 4xx, own error body", on: all4xx, body: meansError, end: end{fate: Refused, class: class4xx}},
	{name: "501, own error body", on: statuses{{501, 501}}, body: meansError, end: end{fate: Refused, class: class5xx}},
	{name: "503, own error body", on: statuses{{503, 503}}, body: meansError, end: end{fate: NotAccepted, class: class5xx}},

	// In other words, or of unknown fate by any.
	{name: "3xx", on: all3xx, end: end{fate: Unknown, class: classOther}},
	{name: "403, 407, not the gateway's error body", ops: repeatable, on: statuses{{403, 403}, {407, 407}}, end: end{fate: Unauthorized, class: classAuth}},
	// A restarting servlet container and an ingress without a backend answer 404 for all.
	{name: "4xx, 501, not the gateway's error body, of a poll", ops: []Op{OpPoll}, on: statuses{{400, 499}, {501, 501}}, end: end{fate: Unreadable, class: class4xx}},
	{name: "4xx, not the gateway's error body", on: all4xx, end: end{fate: Unknown, class: class4xx}},
	{name: "503, not the gateway's error body", ops: repeatable, on: statuses{{503, 503}}, end: end{fate: NotAccepted, class: class5xx}},
	{name: "other 5xx", on: all5xx, end: end{fate: Unknown, class: class5xx}},

	{name: "any other status", end: end{fate: Unknown, class: classOther}},
}
