package gateway

import "slices"

// meaning is what the body of an answer says, whatever its HTTP status.
type meaning int

const (
	meansAnything  meaning = iota // in a row: any body
	meansNothing                  // not understood: no JSON, or of an unknown shape
	meansError                    // the gateway's own error body, and no certificate
	meansIssued                   // holds a certificate
	meansHollow                   // says issued, or has a certificate member, without a readable certificate
	meansRejected                 // a rejected word
	meansWaiting                  // a pending or unknown word, with a tracking id
	meansUntracked                // a pending or unknown word without a tracking id
	meansDone                     // the wanted answer of a revocation, look-up or probe
	meansLicence                  // an error body about the licence's limit
	meansRevoked                  // an error body that says "already revoked"
	meansDown                     // the CA's status is DOWN
	meansForeign                  // not a 2xx, and not the gateway's own error body
	meansCertless                 // a page about the client's certificate
	meansYoung                    // any error, to a poll within the grace after the submission
)

// end is the result for the caller: an Answer with the state, or an *Error with the fate and
// class. With neither, the call is done.
type end struct {
	state State
	fate  Fate
	class string
}

// statuses is a list of status ranges, both ends included. nil matches every status.
type statuses [][2]int

func (s statuses) has(status int) bool {
	return s == nil || slices.ContainsFunc(s, func(r [2]int) bool { return r[0] <= status && status <= r[1] })
}

// row is one rule of the triage table. A zero field matches everything.
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

// judge returns the row that decides about an exchange.
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
	// repeatable are the operations that the caller may simply repeat.
	repeatable = []Op{OpPoll, OpRevoke, OpFind, OpProbe}
)

// triage decides what every answer means, and what a missing answer means. The first row that
// matches decides. If it is in doubt whether the gateway accepted an enrollment, the fate is
// Unknown: a wrong NotAccepted leads to a second certificate. Only the gateway's own error
// body proves that it did not accept it. A proxy may answer anything after it passed the
// request on.
//
// An empty class with a fate stands for timeout or network; the error decides.
var triage = []row{
	// No answer. The request is not at fault.
	{name: "key pair unreadable", phase: phaseNoKeyPair, end: end{fate: Unauthorized, class: classAuth}},
	{name: "client certificate refused in TLS", phase: phaseBadClient, end: end{fate: Unauthorized, class: classAuth}},
	{name: "abandoned before its last byte", phase: phaseAbandoned, end: end{fate: NotAccepted, class: classOther}},
	{name: "not written to its end", phase: phaseUnsent, end: end{fate: NotAccepted}},
	{name: "not processed, says HTTP/2", phase: phaseUnprocessed, end: end{fate: NotAccepted, class: classNetwork}},
	{name: "TLS renegotiation, or certificate asked for after the handshake", phase: phaseClientAuth, end: end{fate: NotAccepted, class: classAuth}},
	{name: "written, no answer", phase: phaseNoAnswer, end: end{fate: Unknown}},
	{name: "2xx truncated", phase: phaseCut, on: only2xx, end: end{fate: Unknown}},

	// 2xx: the body decides. A certificate outweighs everything except a rejected word.
	{name: "2xx, rejected word", ops: orders, on: only2xx, body: meansRejected, end: end{state: Rejected, class: classPolicy}},
	{name: "2xx, action rejected", ops: []Op{OpRevoke}, on: only2xx, body: meansRejected, end: end{fate: Refused, class: classPolicy}},
	{name: "2xx, certificate", ops: orders, on: only2xx, body: meansIssued, end: end{state: Issued}},
	{name: "2xx, licence limit", ops: orders, on: only2xx, body: meansLicence, end: end{fate: Refused, class: classPolicy}},
	{name: "2xx, already revoked", ops: []Op{OpRevoke}, on: only2xx, body: meansRevoked},
	{name: "2xx, error body", on: only2xx, body: meansError, end: end{fate: Refused, class: classOther}},
	{name: "2xx, issued word without certificate", ops: orders, on: only2xx, body: meansHollow, end: end{fate: Unreadable, class: classOther}},
	{name: "2xx, pending without tracking id", ops: orders, on: only2xx, body: meansUntracked, end: end{fate: Unreadable, class: classOther}},
	{name: "2xx, pending or unknown word", ops: orders, on: only2xx, body: meansWaiting, end: end{state: Pending}},
	{name: "2xx, done", ops: []Op{OpRevoke, OpFind, OpProbe}, on: only2xx, body: meansDone},
	{name: "2xx, CA is down", ops: []Op{OpProbe}, on: only2xx, body: meansDown, end: end{fate: NotAccepted, class: class5xx}},
	{name: "2xx, not understood", on: only2xx, end: end{fate: Unreadable, class: classOther}},

	// 401, 429 and the client's certificate concern the whole gateway, whichever server
	// answers. The licence limit comes first: it blocks this order, not the worker, whatever
	// the status.
	{name: "4xx, licence limit", ops: orders, on: all4xx, body: meansLicence, end: end{fate: Refused, class: classPolicy}},
	{name: "400, 403, 495, 496 about the client's certificate", on: statuses{{400, 400}, {403, 403}, {495, 496}}, body: meansCertless, end: end{fate: Unauthorized, class: classAuth}},
	{name: "401", on: statuses{{401, 401}}, end: end{fate: Unauthorized, class: classAuth}},
	{name: "429", on: statuses{{429, 429}}, end: end{fate: Throttled, class: classRateLimited}},
	{name: "404 within the grace", ops: []Op{OpPoll}, on: statuses{{404, 404}}, body: meansYoung, end: end{state: Pending}},

	// The server did not have the whole request, so its answer needs no proof.
	{name: "answered before it was written to its end", phase: phaseEarly, body: meansForeign, end: end{fate: NotAccepted, class: classOther}},

	{name: "408", on: statuses{{408, 408}}, end: end{fate: Unknown, class: classTimeout}},
	// The gateway's own error body. Of the 5xx only 501 and 503 say that nothing was done.
	{name: "4xx or 5xx, already revoked", ops: []Op{OpRevoke}, on: statuses{{400, 599}}, body: meansRevoked},
	{name: "403, own error body", on: statuses{{403, 403}}, body: meansError, end: end{fate: Unauthorized, class: classAuth}},
	{name: "404, 410 of an order, own error body", ops: []Op{OpPoll}, on: statuses{{404, 404}, {410, 410}}, body: meansError, end: end{fate: NotFound, class: class4xx}},
	{name: "400, 422, own error body", on: statuses{{400, 400}, {422, 422}}, body: meansError, end: end{fate: Refused, class: classValidation}},
	{name: "other 4xx, own error body", on: all4xx, body: meansError, end: end{fate: Refused, class: class4xx}},
	{name: "501, own error body", on: statuses{{501, 501}}, body: meansError, end: end{fate: Refused, class: class5xx}},
	{name: "503, own error body", on: statuses{{503, 503}}, body: meansError, end: end{fate: NotAccepted, class: class5xx}},

	// Another body, or a status that proves nothing with any body.
	{name: "3xx", on: all3xx, end: end{fate: Unknown, class: classOther}},
	{name: "403, 407, not the gateway's error body", ops: repeatable, on: statuses{{403, 403}, {407, 407}}, end: end{fate: Unauthorized, class: classAuth}},
	// A restarting servlet container and an ingress without a backend answer every path with 404.
	{name: "4xx, 501, not the gateway's error body, of a poll", ops: []Op{OpPoll}, on: statuses{{400, 499}, {501, 501}}, end: end{fate: Unreadable, class: class4xx}},
	{name: "4xx, not the gateway's error body", on: all4xx, end: end{fate: Unknown, class: class4xx}},
	{name: "503, not the gateway's error body", ops: repeatable, on: statuses{{503, 503}}, end: end{fate: NotAccepted, class: class5xx}},
	{name: "other 5xx", on: all5xx, end: end{fate: Unknown, class: class5xx}},

	{name: "any other status", end: end{fate: Unknown, class: classOther}},
}
