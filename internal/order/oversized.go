package order

import (
	"slices"
	"time"
	"unicode/utf8"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// Codes of results of orders that the bus cannot carry.
const (
	CodeResultTooLarge  = "result_too_large"  // a certificate was issued, and no message can hold it
	CodeRequestTooLarge = "request_too_large" // the order cannot wait: no message can hold its request
)

const (
	// maxMessage is how much of an error's text the smallest result keeps, in bytes.
	maxMessage = 1 << 10
	// maxTrackingID is the longest tracking id, in bytes, that the smallest result and the
	// smallest wake-up keep.
	maxTrackingID = 1 << 10
)

// Oversized: the server refuses the record, or the result, of a decision for ever,
// since no message can be so large. Nothing behind that step was carried out. Where its
// own StepRecord meets another writer, the event before it is decided again.
type Oversized struct {
	Decision Decision
	Step     Step // StepRecord or StepResult
	Request  func() *Request
}

func (Oversized) event() {}

// oversized ends an order in fewer words, or one that cannot wait.
func (d *decider) oversized(e Oversized) Decision {
	d.request = e.Request
	r := e.at(d.cur)
	settle := e.Decision.Settle
	if e.Decision.Call != nil {
		settle = Settle{Verb: Ack} // a call is never about another order's message
	}
	var out Decision
	if r.Phase == Concluded {
		out = d.shrink(r, e.Step)
	} else {
		out = d.unkept(r)
	}
	if out.Settle.Verb != Return || settle.Verb == Leave {
		out.Settle = settle
	}
	out.Unwake = out.Unwake || e.Decision.Unwake && out.Result != nil
	if e.Decision.Call == nil {
		out.Reconciled = e.Decision.Reconciled
	}
	return out
}

// at is the record that the order is at: the one that could not be written, but for a
// call, which was not made.
func (e Oversized) at(cur Stored) Record {
	dec := &e.Decision
	switch {
	case dec.Keep != nil:
		return *dec.Keep
	case dec.Record == nil, dec.Call != nil && cur.Phase != "" && cur.Generation == dec.Record.Generation:
		return cur.Record
	}
	r := *dec.Record
	if c := dec.Call; c != nil && (c.Op == OpEnroll || c.Op == OpRevoke) {
		r.Submissions--
		r = r.to(Unaccepted)
		r.SubmittedAt = time.Time{}
	}
	return r
}

// shrink publishes an end in fewer words. The new words are written first, so that a
// death between letter and result changes neither.
func (d *decider) shrink(r Record, refused Step) Decision {
	if refused == StepRecord && r.Request != nil {
		// The message that brought the event has it, and is in flight until the end.
		r.Request = nil
		out := d.publish(r)
		out.Record = &r
		return out
	}
	c, ok := r.Conclusion.Smaller()
	if !ok {
		return Decision{
			Settle: Settle{Verb: Return, After: time.Minute},
			Notice: Notice{Level: Error, Text: "no message can hold even the smallest result; raise the stream's max message size", Wait: time.Minute},
		}
	}
	n := Notice{Level: Warn, Text: "a result is larger than a message may be; leaving out a part of it"}
	if c.Reason != "" && r.Conclusion.Reason == "" {
		n = Notice{Level: Error, Text: "a certificate was issued, and no message can hold it", Cause: "serial " + c.Result.Serial}
	}
	r.Conclusion = c
	out := d.publish(r)
	out.Record, out.Notice = &r, n
	return out
}

// unkept ends an order that would have to wait, and whose request no message can hold.
func (d *decider) unkept(r Record) Decision {
	e := &entrustbus.ResultError{
		Class: entrustbus.ClassOther, Code: CodeRequestTooLarge,
		Message: "the order cannot wait: no message can hold its request with the worker's headers; raise max_payload, or send a smaller request",
	}
	outcome, reason := entrustbus.OutcomeUnconfirmed, Unconfirmed
	if !r.PossibleDuplicate && (r.Phase == "" || r.Phase == Unaccepted) || r.Kind == entrustbus.KindCancel {
		outcome, reason = entrustbus.OutcomeFailed, Rejected
	}
	out := d.conclude(r, outcome, e, reason)
	out.Record.Request = nil
	out.Notice = Notice{Level: Error, Text: "ending an order that cannot wait: a message may not be as large as its request"}
	return out
}

// Smaller returns the conclusion with less in its result, and false where nothing can be
// left out any more: first without the chain, then without labels, then as failed and
// without the certificate, then without warnings and with a short error. A result says in
// its warnings what was left out of it. A certificate that is not handed out leaves a
// dead letter, with its serial: an operator can fetch or revoke it.
func (c *Conclusion) Smaller() (*Conclusion, bool) {
	out, res := *c, *c.Result
	out.Result = &res
	warn := func(text string) { res.Warnings = append(slices.Clip(res.Warnings), text) }
	switch {
	case res.ChainPEM != "":
		res.ChainPEM = ""
		warn("chain_pem was left out: with it, the result does not fit into a message of the bus")
	case len(res.Labels) > 0:
		res.Labels = nil
		warn("labels were left out: with them, the result does not fit into a message of the bus")
	case res.CertificatePEM != "":
		res.CertificatePEM = ""
		res.Outcome = entrustbus.OutcomeFailed
		res.Error = &entrustbus.ResultError{
			Class: entrustbus.ClassOther, Code: CodeResultTooLarge,
			Message: "the certificate with serial " + res.Serial + " was issued, and does not fit into a message of the bus; fetch it from the gateway by its serial, or revoke it; the operator has to raise max_payload",
		}
		out.Reason, out.Why = Rejected, res.Error.Message
	default:
		const left = "further warnings were left out: with them, the result does not fit into a message of the bus"
		small := len(res.Warnings) == 0 || len(res.Warnings) == 1 && res.Warnings[0] == left
		if !small {
			res.Warnings = []string{left}
		}
		if e := res.Error; e != nil && len(e.Message) > maxMessage {
			short := *e
			short.Message = cut(e.Message, maxMessage)
			res.Error, small = &short, false
		}
		if len(out.Why) > maxMessage {
			out.Why, small = cut(out.Why, maxMessage), false
		}
		if len(res.TrackingID) > maxTrackingID {
			res.TrackingID, small = "", false
		}
		if small && out.TraceParent+out.TraceState == "" {
			return nil, false
		}
		out.TraceParent, out.TraceState = "", ""
	}
	return &out, true
}

// cut returns the first whole characters of text that fit into most bytes.
func cut(text string, most int) string {
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most]
}

// Smaller returns the wake-up without the request, for an order whose record keeps that.
func (w *Wakeup) Smaller() *Wakeup {
	out := *w
	out.Request = nil
	if len(out.TrackingID) > maxTrackingID {
		out.TrackingID = ""
	}
	return &out
}
