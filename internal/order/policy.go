package order

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// Codes of results that the policy refused.
const (
	CodeDenied = "denied" // a rule forbids the order
	CodeQuota  = "quota"  // too many requests of the producer wait for their turn
)

// CodeSuspended is that of a cause, and of no result: an operator suspended the calls of the order.
const CodeSuspended = "suspended"

// Verdict is what the policy says of an order. The zero value allows it.
type Verdict struct {
	// Denied says in one line which rule refuses which value, "" where none does.
	Denied string
	// Code is CodeDenied or CodeQuota, "" for CodeDenied.
	Code string
	// After is how long a new order has to wait for its turn, 0 where it may begin at once.
	After time.Duration
	// Waits says what it waits for where that is not its producer's turn: that an operator
	// resumes what is suspended.
	Waits string
	// Digest names the policy, nil where there is none.
	Digest []byte
	// Validity is what the policy cuts a longer wish, or cap, to; 0 where it cuts nothing.
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

// judged reports whether the policy is asked before r is submitted: not where a revocation
// may be done already. It was allowed when it was begun, and only a second call tells.
func (d *decider) judged(r Record) bool {
	return r.Kind != entrustbus.KindRevoke || r.Phase != Submitting && r.Phase != Indeterminate
}

// deny ends an order that the policy refuses, or refuses by now. Where the gateway may have
// accepted an earlier submission, the refusal ends the tries and not the doubt.
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

// putOff has a new order wait for its turn, or for an operator. No call was made, so that
// nothing is held against Settings.SubmitMaxWait.
func (d *decider) putOff(r Record, v Verdict) Decision {
	r = d.keepsRequest(r.to(Unaccepted))
	r.Cause = &entrustbus.ResultError{
		Class: entrustbus.ClassRateLimited, Code: CodeQuota, Message: "the producer's requests a minute are used up; the order waits for its turn",
	}
	if v.Waits != "" {
		r.Cause = &entrustbus.ResultError{Class: entrustbus.ClassOther, Code: CodeSuspended, Message: v.Waits}
	}
	return d.wait(r, v.After, 0, Notice{Level: Debug, Text: "an order waits for its turn", Cause: r.Cause.Message})
}

// warnings are those of a result: what the contract noticed, and a validity that was cut.
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
