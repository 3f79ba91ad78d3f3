package consumer

import (
	"fmt"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/policy"
)

// judge says whether the order in a record may continue, and when. It asks the policy in force,
// if any, and the suspensions of operators. The machine calls it when the order is about to
// begin, or to be submitted again.
func (h *handling) judge(r order.Record) order.Verdict {
	out := order.Verdict{Digest: r.PolicyDigest, Validity: r.Validity} // without a policy, keep those of an earlier one
	if h.w.cfg.Policy != nil {
		out = h.asksPolicy(r)
	}
	if out.Denied == "" {
		h.suspended(r, &out)
	}
	return out
}

// asksPolicy asks the policy in force about the order in a record.
func (h *handling) asksPolicy(r order.Record) order.Verdict {
	p := h.w.cfg.Policy()
	digest := p.Digest()
	out := order.Verdict{Digest: digest[:]}
	q := h.asked()
	if q == nil || q.Body == nil {
		out.Denied = "the policy cannot be checked: the request cannot be read"
		return out
	}
	if q.Operator && q.Raw.Get(order.HeaderRepeats) == "" && r.Kind == entrustbus.KindRevoke {
		return out // an operator's own request: NATS permissions decide who may publish there
	}
	ask := policy.Request{Producer: h.key.Producer, Body: q.Body, CA: r.CAID, Profile: r.ProfileID, BlockedKey: h.known.blocked, Message: h.published(q, r)}
	if h.known.ca == r.CAID {
		ask.Owner = h.known.owner
	}
	v := p.Judge(ask)
	if v.Denial != nil {
		out.Denied = v.Denial.Error()
	}
	out.Validity = v.Validity
	if out.Denied == "" {
		h.turn(p.RequestsPerMinute(h.key.Producer), r, &out)
	}
	return out
}

// published describes the first publish of the request in a record. An operator's request is
// authorised by its subject. When it repeats a producer's request, the producer's signature
// must be valid, at any age.
func (h *handling) published(q *order.Request, r order.Record) policy.Message {
	m := policy.Message{
		Subject: h.w.subjects.Request(h.key.Producer, q.Kind), ID: h.key.ID, Body: q.Raw.Body, Published: r.RequestedAt,
		Signature: q.Raw.Get(entrustbus.HeaderSignature), KeyID: q.Raw.Get(entrustbus.HeaderKeyID), SignedAt: q.Raw.Get(entrustbus.HeaderSignedAt),
	}
	if q.Operator {
		m.Published, m.Unsigned = time.Time{}, q.Raw.Get(order.HeaderRepeats) == ""
	}
	return m
}

// turn makes a new issue request wait for its turn when the producer has a bound. The bound
// never delays revocations or requests of an operator.
func (h *handling) turn(perMinute int, r order.Record, out *order.Verdict) {
	if perMinute == 0 || r.Kind != entrustbus.KindIssue || r.Phase != "" || r.Generation > 0 {
		return
	}
	if h.reserved == 0 {
		after, ok := h.w.throttle.quota.reserve(h.key.Producer, perMinute, time.Now())
		if !ok {
			out.Code = order.CodeQuota
			out.Denied = fmt.Sprintf("the policy allows %d requests a minute, and %d wait for their turn (rule requests_per_minute)", perMinute, maxDeferred)
			return
		}
		h.reserved, h.after = perMinute, after
	}
	out.After = h.after
}

// giveTurnBack releases the turn of an order whose call may not be made now: the message comes
// again.
func (h *handling) giveTurnBack() {
	if h.reserved > 0 {
		h.w.throttle.quota.release(h.key.Producer, h.reserved)
		h.reserved, h.after = 0, 0
	}
}
