package order

import (
	"strconv"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// Headers of an operator's message, for the audit trail. They count on an operator's
// subject only.
const (
	HeaderOperator = "Entrust-Operator" // who sent it, as the verb knows it
	HeaderReason   = "Entrust-Reason"   // why
)

// Act is what the audit trail calls a decision. That of an end is its outcome, or one of
// ActDenied and ActResolved.
type Act string

// The acts that are no outcomes.
const (
	ActSubmitted   Act = "submitted"   // the gateway has the order, or may have it
	ActResubmitted Act = "resubmitted" // submitted again, the fate of the first being unknown
	ActAdopted     Act = "adopted"     // found at the gateway after its answer was lost
	ActReplayed    Act = "replayed"    // an operator began the next generation
	ActDenied      Act = "denied"      // the policy refused it
	ActResolved    Act = "resolved"    // an operator says that nothing was issued
)

// Audit is what the audit trail keeps of a decision with an effect outside: at the
// gateway, or for a producer's certificate.
type Audit struct {
	Act Act
	// Record is the order as the decision left it.
	Record Record
	// Result is that of an end, nil for any other act.
	Result *entrustbus.Result
	// How says more of an end: "adopted", "held", or "completed" by an operator.
	How string
	// KeyID names the key that signed the request, as the request says: it is verified where
	// the policy asks for signatures. Operator and Reason are those of an
	// operator's message.
	KeyID, Operator, Reason string
}

// Of returns the same for the result that stands, which may be an earlier one.
func (a Audit) Of(stands *entrustbus.Result) *Audit {
	a.Result, a.Act = stands, actOf(stands)
	return &a
}

// ID tells the repetition of one record from another record: by order, generation and
// act, and where an order can be submitted again, by the count of submissions.
func (a *Audit) ID(key Key) string {
	generation := a.Record.Generation
	if a.Result != nil {
		generation = a.Result.Replay
	}
	id := entrustbus.ResultMsgID(key.Producer, key.ID, generation) + "." + string(a.Act)
	if a.Act == ActSubmitted || a.Act == ActResubmitted {
		id += "." + strconv.Itoa(a.Record.Submissions)
	}
	return id
}

// audit returns what the trail keeps of a decision, nil where it has no effect outside.
// An order that ends in the handling that submitted it has one record, that of its end,
// which counts its submissions.
func (d *decider) audit(ev Event, out *Decision) *Audit {
	a := &Audit{Record: d.cur.Record}
	if out.Record != nil {
		a.Record = *out.Record
	}
	switch {
	case out.Close:
		stands := out.Stands
		if out.Result != nil {
			stands = out.Result.Result
		}
		if !outside(stands) {
			return nil
		}
		a = a.Of(stands)
		a.How = out.Reconciled
		if e, ok := ev.(ByHand); ok && e.Certificate != nil {
			a.How = "completed"
		}
	case out.Record == nil:
		return nil
	case d.cur.Phase == Closed && a.Record.Generation > d.cur.Generation:
		a.Act = ActReplayed
	case out.Reconciled == "resubmitted":
		a.Act = ActResubmitted
	case out.Reconciled == "adopted":
		a.Act = ActAdopted
	case d.cur.Phase == Submitting && (a.Record.Phase == Awaiting || a.Record.Phase == Indeterminate):
		a.Act = ActSubmitted
	default:
		return nil
	}
	if q := d.asked(); q.Raw != nil {
		a.KeyID = q.Raw.Get(entrustbus.HeaderKeyID)
		if q.Operator {
			a.Operator, a.Reason = q.Raw.Get(HeaderOperator), q.Raw.Get(HeaderReason)
		}
	}
	return a
}

// outside reports whether an end had an effect outside, or kept one from happening by a
// rule. A request that breaks the contract had none.
func outside(r *entrustbus.Result) bool {
	switch r.Outcome {
	case entrustbus.OutcomeFailed, entrustbus.OutcomeRejected:
		return r.Submissions > 0 || r.TrackingID != "" || r.Serial != "" || actOf(r) != Act(r.Outcome)
	}
	return true
}

func actOf(r *entrustbus.Result) Act {
	switch e := r.Error; {
	case e == nil:
	case r.Outcome == entrustbus.OutcomeRejected && e.Class == entrustbus.ClassPolicy:
		return ActDenied
	case e.Code == CodeResolved:
		return ActResolved
	}
	return Act(r.Outcome)
}
