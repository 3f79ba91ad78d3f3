package orders

import (
	"strings"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/policy"
	"github.com/entrust-worker/entrust-worker/internal/policyfile"
)

// An order shows the policy that was asked, by the name that logs have for it, and says
// where it only waits for its turn.
func TestOrderShowsItsPolicy(t *testing.T) {
	t.Parallel()
	p, err := policy.Parse([]byte("producers: {}"))
	if err != nil {
		t.Fatal(err)
	}
	digest := p.Digest()
	r := order.Record{
		Kind: entrustbus.KindIssue, Phase: order.Unaccepted, PolicyDigest: digest[:],
		Cause: &entrustbus.ResultError{Code: order.CodeQuota, Message: "used up"},
	}
	o := newView(order.Key{Producer: "shop", ID: "a"}, order.Stored{Record: r, Revision: 1})
	if o.Policy != policyfile.Name(p) {
		t.Errorf("the policy is %q, want %q", o.Policy, policyfile.Name(p))
	}
	o.NextWakeup = time.Now().Add(time.Minute)
	if !strings.Contains(o.meaning(), "turn") {
		t.Errorf("got %q", o.meaning())
	}
	if o := newView(order.Key{}, order.Stored{}); o.Policy != "" {
		t.Errorf("without a policy there is %q", o.Policy)
	}
}
