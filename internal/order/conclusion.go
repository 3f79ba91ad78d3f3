package order

import (
	"fmt"
	"slices"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// conclude ends an order without a success. It writes the end into the record first, so that a
// crash between dead letter and result changes neither.
func (d *decider) conclude(r Record, outcome entrustbus.Outcome, e *entrustbus.ResultError, reason Reason) Decision {
	res := d.result(r, outcome)
	res.Error = e
	why := ""
	if e != nil {
		why = e.Message
	}
	c := d.conclusion(res)
	c.Reason, c.Why = reason, why
	waited := r.Request != nil
	if reason != "" {
		r = d.keepsRequest(r) // for the dead letter
	}
	r = r.to(Concluded)
	r.Conclusion = c
	out := d.publish(r)
	out.Record, out.Unwake = &r, waited
	return out
}

// succeed ends an order with its certificate, or its revocation. A crash before the result
// loses nothing: the next worker polls, looks up, or revokes again. It writes the end first
// only when another worker may submit meanwhile, since the result must then mention that
// submission.
func (d *decider) succeed(r Record, outcome entrustbus.Outcome, cert *Certificate) Decision {
	res := d.result(r, outcome)
	if cert != nil {
		res.CertificatePEM, res.ChainPEM = cert.PEM, cert.ChainPEM
		res.Serial, res.SerialDecimal = cert.Serial, cert.SerialDecimal
		res.NotBefore, res.NotAfter = cert.NotBefore.UTC(), cert.NotAfter.UTC()
		res.Warnings = slices.Concat(res.Warnings, cert.Warnings)
	}
	waited := r.Request != nil
	first := r.Kind == entrustbus.KindIssue && r.Phase != Awaiting && (d.OnLostReply == Resubmit || d.ApprovalNever)
	r = r.to(Concluded)
	r.Conclusion = d.conclusion(res)
	r.Request = nil // there is no dead letter, and the chain needs the room
	out := d.publish(r)
	out.Unwake = waited
	if first {
		out.Record = &r
	} else {
		out.Keep = &r
	}
	return out
}

// publish publishes the end of a concluded order and closes it.
func (d *decider) publish(r Record) Decision {
	c := r.Conclusion
	out := Decision{Result: c, Close: true, Unwake: r.Request != nil, Settle: Settle{Verb: Ack}}
	if c.Reason != "" {
		q := *d.asked()
		q.Key, q.Kind, q.Generation = d.key, r.Kind, r.Generation
		l := letterOf(&q, c.Reason, c.Why)
		if r.Request != nil {
			l.Request = *r.Request
		}
		l.TrackingID = r.TrackingID
		l.ID = entrustbus.ResultMsgID(d.key.Producer, d.key.ID, r.Generation) + "." + string(c.Reason)
		out.Letter = l
	}
	return out
}

// result builds the part of a result that every outcome has.
func (d *decider) result(r Record, outcome entrustbus.Outcome) *entrustbus.Result {
	res := &entrustbus.Result{
		Version: entrustbus.Version, ID: d.key.ID, Producer: d.key.Producer, Kind: r.Kind, Outcome: outcome,
		RequestedAt: r.RequestedAt, SubmittedAt: r.SubmittedAt, FinishedAt: d.now.UTC(), Replay: r.Generation,
		CAID: r.CAID, ProfileID: r.ProfileID, TrackingID: r.TrackingID,
		Submissions: r.Submissions, PossibleDuplicate: r.PossibleDuplicate,
	}
	if q := d.asked(); q.Body != nil {
		res.Labels, res.Warnings = q.Body.LabelMap(), warnings(r, q.Body)
		if b, ok := q.Body.(*entrustbus.Track); ok && res.TrackingID == "" {
			res.TrackingID = b.TrackingID
		}
	}
	return res
}

func (d *decider) conclusion(res *entrustbus.Result) *Conclusion {
	q := d.asked()
	parent, state := q.Raw.Trace()
	return &Conclusion{Result: res, Encoding: q.Encoding, TraceParent: parent, TraceState: state}
}

// polls sets the count of polls in the result.
func (d *Decision) polls(n int) {
	if d.Result != nil {
		d.Result.Result.Polls = n
	}
}

// letterOf builds the dead letter of a request.
func letterOf(q *Request, reason Reason, why string) *Letter {
	l := &Letter{
		Reason: reason, Key: q.Key, Kind: q.Kind, Generation: q.Generation, Why: why,
		Deliveries: q.Deliveries, Deaths: q.Deaths + 1,
	}
	if q.Raw != nil {
		l.Request = *q.Raw
	}
	return l
}

// poisoned ends an order whose message crashed workers. It does not decode the body, which may
// be the cause.
func (d *decider) poisoned(e Poisoned) Decision {
	q := e.Request
	d.request = func() *Request { return &q }
	if q.Key.ID == "" || d.cur.Phase != "" && !q.of(d.cur.Record) {
		return d.letterOnly(&q, Crashed, crashed)
	}
	r := d.cur.Record
	switch {
	case r.Phase == "":
		r = Record{Kind: q.Kind, Generation: q.Generation, Digest: q.Digest, Origin: q.Ref, RequestedAt: q.Ref.Time}
	case q.Generation < r.Generation:
		if r.Phase.Ended() {
			return ack(Notice{})
		}
		// A due message of an earlier generation may have replaced the wake-up of this one.
		return d.wait(r, d.retryWait(1, 0), 0, Notice{})
	case q.Generation > r.Generation:
		step, refusal := ReplayOf(r)
		if refusal != "" {
			return ack(Notice{})
		}
		if step != ReplaySubmit {
			// The gateway may have the order of the earlier generation.
			r = d.next(&q, ReplayResume)
			return d.crashedAs(r, entrustbus.OutcomeUnconfirmed)
		}
		r = d.next(&q, step)
	case r.Phase == Closed:
		return ack(Notice{})
	case r.Phase == Concluded:
		return d.publish(r)
	}
	outcome := entrustbus.OutcomeFailed
	switch d.cur.Phase {
	case Submitting, Indeterminate, Awaiting:
		if r.Kind == entrustbus.KindIssue || r.Kind == entrustbus.KindTrack {
			outcome = entrustbus.OutcomeUnconfirmed
		}
	}
	if r.PossibleDuplicate {
		outcome = entrustbus.OutcomeUnconfirmed
	}
	return d.crashedAs(r, outcome)
}

const crashed = "this message crashed the worker 3 times"

func (d *decider) crashedAs(r Record, outcome entrustbus.Outcome) Decision {
	e := &entrustbus.ResultError{Class: entrustbus.ClassOther, Code: "crashed", Message: crashed}
	out := d.conclude(r, outcome, e, Crashed)
	out.Notice = Notice{Level: Error, Text: "giving up a message", Cause: crashed}
	return out
}

// byHand completes or resolves a closed order in its next generation.
func (d *decider) byHand(e ByHand) Decision {
	q := e.Request
	d.request = func() *Request { return &q }
	_, refusal := ReplayOf(d.cur.Record)
	switch {
	case d.cur.Phase == Concluded && q.Generation == d.cur.Generation:
		return d.publish(d.cur.Record) // a worker crashed during it
	case d.cur.Phase != "" && q.Generation <= d.cur.Generation:
		return ack(Notice{}) // already done
	case d.cur.Phase == "":
		return d.letterOnly(&q, Invalid, "order: no order of this id is known")
	case refusal != "":
		return d.letterOnly(&q, Invalid, fmt.Sprintf("order: %s; only an order that ended without a certificate can be completed or resolved", refusal))
	case q.Generation != d.cur.Generation+1:
		return d.letterOnly(&q, Invalid, fmt.Sprintf("order: generation %d follows %d, not %d", d.cur.Generation+1, d.cur.Generation, q.Generation))
	case e.Problem != "":
		return d.letterOnly(&q, Invalid, "certificate_pem: "+e.Problem)
	}
	r := d.next(&q, ReplayResume)
	if e.Certificate != nil {
		out := d.succeed(r, entrustbus.OutcomeIssued, e.Certificate)
		if out.Keep != nil {
			// Only the operator has this certificate: write it first.
			out.Record, out.Keep = out.Keep, nil
		}
		return out
	}
	r.TrackingID, r.PossibleDuplicate = "", false
	return d.conclude(r, entrustbus.OutcomeFailed, &entrustbus.ResultError{
		Class: entrustbus.ClassOther, Code: CodeResolved, Message: "an operator found that nothing was issued",
	}, "")
}
