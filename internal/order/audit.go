package order

import (
	"strconv"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// Headers of an operator's message, for the audit trail. They count on an operator's subject
// only.
const (
	HeaderOperator = "Entrust-Operator" // the sender, as the verb knows it
	HeaderReason   = "Entrust-Reason"   // why
)

// Act is the name of a decision in the audit trail. The act of an end is its outcome, ActDenied
// or ActResolved.
type Act string

// The acts that are not outcomes.
const (
	ActSubmitted   Act = "submitted"   // the gateway has the order, or may have it
	ActResubmitted Act = "resubmitted" // submitted again after an indeterminate submission
	ActAdopted     Act = "adopted"     // found at the gateway after its answer was lost
	ActReplayed    Act = "replayed"    // an operator began the next generation
	ActDenied      Act = "denied"      // the policy refused it
	ActResolved    Act = "resolved"    // an operator says that nothing was issued
)

// Audit is the audit record of a decision with an effect outside: at the gateway, or for a
// producer's certificate.
type Audit struct {
	Act Act
	// Record is the order as the decision left it.
	Record Record
	// Result is the result of an end, nil for any other act.
	Result *entrustbus.Result
	// How describes an end: "adopted", "held", or "completed" by an operator.
	How string
	// KeyID names the key that signed the request, as the request says. It is verified only
	// where the policy requires signatures. Operator and Reason are those of an operator's
	// message.
	KeyID, Operator, Reason string
}

// Of returns the same record for the result in force, which may be an earlier one.
func (a Audit) Of(stands *entrustbus.Result) *Audit {
	a.Result, a.Act = stands, actOf(stands)
	return &a
}

// ID identifies a record, so that a repetition of it is recognised. It consists of order,
// generation and act. For an act that can happen again it also has the count of submissions.
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

// audit returns the audit record of a decision, nil when the decision has no effect outside. An
// order that ends in the handling that submitted it has one record: that of its end, with its
// count of submissions.
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

// outside reports whether an end had an effect outside, or a rule prevented one. A request that
// breaks the contract had none.
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
