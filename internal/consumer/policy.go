package consumer

import (
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/policy"
)

// judge asks the policy in force about the order in a record. The machine calls it where
// the order is about to begin, or to be submitted again.
func (h *handling) judge(r order.Record) order.Verdict {
	p := h.w.cfg.Policy()
	digest := p.Digest()
	out := order.Verdict{Digest: digest[:]}
	q := h.asked()
	if q == nil || q.Body == nil {
		out.Denied = "the policy cannot be asked: the request cannot be read"
		return out
	}
	v := p.Judge(policy.Request{Producer: h.key.Producer, Body: q.Body, CA: r.CAID, Profile: r.ProfileID})
	if v.Denial != nil {
		out.Denied = v.Denial.Error()
	}
	out.Validity = v.Validity
	return out
}
