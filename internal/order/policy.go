package order

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// Codes of results of orders that the policy refused.
const (
	CodeDenied = "denied" // a rule forbids the order
	CodeQuota  = "quota"  // too many requests of the producer wait for their turn
)

// CodeSuspended is the code of a cause, never of a result: an operator suspended the calls of
// the order.
const CodeSuspended = "suspended"

// Verdict is the policy's answer about an order. The zero value allows it.
type Verdict struct {
	// Denied says in one line which rule refuses which value, "" when the policy allows the
	// order.
	Denied string
	// Code is CodeDenied or CodeQuota. "" counts as CodeDenied.
	Code string
	// After is how long a new order waits for its turn, 0 when it may begin at once.
	After time.Duration
	// Waits says what the order waits for, when that is not its producer's turn: an operator
	// must resume its calls.
	Waits string
	// Digest identifies the policy, nil without a policy.
	Digest []byte
	// Validity is the policy's limit when it cut a longer demand or cap; 0 when it cut nothing.
	Validity time.Duration
}

// verdict asks the policy about an order, and notes in r which policy answered.
func (d *decider) verdict(r *Record) Verdict {
	if d.remains.Judge == nil {
		return Verdict{}
	}
	v := d.remains.Judge(*r)
	r.PolicyDigest, r.Validity = v.Digest, v.Validity
	return v
}

// judged reports whether the policy is asked before r is submitted. It is not asked about a
// revocation that may already be done. The policy allowed it when it began, and only a second
// call shows the result.
func (d *decider) judged(r Record) bool {
	return r.Kind != entrustbus.KindRevoke || r.Phase != Submitting && r.Phase != Indeterminate
}

// deny ends an order that the policy refuses. When the gateway may have accepted an earlier
// submission, the order ends as unconfirmed.
func (d *decider) deny(r Record, v Verdict) Decision {
	r.Validity = 0
	e := &entrustbus.ResultError{Class: entrustbus.ClassPolicy, Code: cmp.Or(v.Code, CodeDenied), Message: v.Denied}
	n := Notice{Level: Warn, Text: "the policy refuses an order", Cause: v.Denied}
	if r.PossibleDuplicate {
		e.Message = "an earlier submission may have been accepted; the order is not submitted again: " + v.Denied
		out := d.conclude(r, entrustbus.OutcomeUnconfirmed, e, Unconfirmed)
		out.Reconciled, out.Notice = "held", n
		return out
	}
	out := d.conclude(r, entrustbus.OutcomeRejected, e, Denied)
	out.Notice = n
	return out
}

// deferOrder makes a new order wait for its turn, or for an operator. No call was made, so the
// wait does not count for Settings.SubmitMaxWait.
func (d *decider) deferOrder(r Record, v Verdict) Decision {
	r = d.keepsRequest(r.to(Unaccepted))
	r.Cause = &entrustbus.ResultError{
		Class: entrustbus.ClassRateLimited, Code: CodeQuota, Message: "the producer's requests a minute are used up; the order waits for its turn",
	}
	if v.Waits != "" {
		r.Cause = &entrustbus.ResultError{Class: entrustbus.ClassOther, Code: CodeSuspended, Message: v.Waits}
	}
	return d.wait(r, v.After, 0, Notice{Level: Debug, Text: "an order waits for its turn", Cause: r.Cause.Message})
}

// warnings are the warnings of a result: those about the request, and a validity that the
// policy cut.
func warnings(r Record, body entrustbus.Request) []string {
	all := body.Warnings()
	if b, ok := body.(*entrustbus.Issue); ok && r.Validity > 0 {
		key, seconds := "validity_seconds", b.ValiditySeconds
		if seconds == 0 {
			key, seconds = "max_validity_seconds", b.MaxValiditySeconds
		}
		all = append(slices.Clip(all), fmt.Sprintf("%s: cut by the policy from %d to %d", key, seconds, r.Validity/time.Second))
	}
	return all
}
