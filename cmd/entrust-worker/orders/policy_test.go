package orders

import (
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/policy"
	"github.com/entrust-worker/entrust-worker/internal/policyfile"
	"github.com/entrust-worker/entrust-worker/internal/timeline"
)

// An order shows the policy that was asked, by the name that logs have for it.
func TestOrderShowsItsPolicy(t *testing.T) {
	t.Parallel()
	p, err := policy.Parse([]byte("producers: {}"))
	if err != nil {
		t.Fatal(err)
	}
	digest := p.Digest()
	o := timeline.FactsOf(order.Key{}, order.Stored{Record: order.Record{PolicyDigest: digest[:]}}, time.Now())
	if o.Policy != policyfile.Name(p) {
		t.Errorf("the policy is %q, want %q", o.Policy, policyfile.Name(p))
	}
	if o := timeline.FactsOf(order.Key{}, order.Stored{}, time.Now()); o.Policy != "" {
		t.Errorf("without a policy there is %q", o.Policy)
	}
}
