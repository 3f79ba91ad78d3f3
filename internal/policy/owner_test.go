package policy

import (
	"strings"
	"testing"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// The worker's knowledge of a certificate's owner and of blocked keys decides, in both
// directions.
func TestOwnersAndBlockedKeys(t *testing.T) {
	t.Parallel()
	const kinds = "    kinds: [issue, revoke]\n    names: {dns: {exact: [a.example]}}\n"
	der := request(t, []part{cn("a.example")})
	revoke := &entrustbus.Revoke{ID: "r", Serial: "0a"}
	issue := &entrustbus.Issue{ID: "i", CSRDER: der}
	for _, tt := range []struct {
		name, serials  string
		body           entrustbus.Request
		owner, blocked string
		rule           string // "" if it is allowed
	}{
		{name: "own", serials: "own", body: revoke, owner: "shop"},
		{name: "another's", serials: "own", body: revoke, owner: "web", rule: "revoke.serials"},
		{name: "nobody's", serials: "own", body: revoke, rule: "revoke.serials"},
		{name: "any, another's", serials: "any", body: revoke, owner: "web"},
		{name: "any, nobody's", serials: "any", body: revoke},
		{name: "none, own", serials: "none", body: revoke, owner: "shop", rule: "revoke.serials"},
		{name: "a free key", serials: "own", body: issue},
		{name: "a blocked key", serials: "own", body: issue, blocked: "ab12", rule: "blocked_keys"},
		{name: "a blocked key is of no matter to a revocation", serials: "own", body: revoke, owner: "shop", blocked: "ab12"},
	} {
		p, err := Parse([]byte("producers:\n  shop:\n" + kinds + "    revoke: {serials: " + tt.serials + "}\n"))
		if err != nil {
			t.Fatal(err)
		}
		q := Request{Producer: "shop", Body: tt.body, CA: "ca", Profile: "p", Owner: tt.owner, BlockedKey: tt.blocked}
		got := p.Judge(q).Denial
		if explained, _ := p.Explain(q); (explained.Denial == nil) != (got == nil) {
			t.Errorf("%s: explained as %v, judged as %v", tt.name, explained.Denial, got)
		}
		switch {
		case tt.rule == "" && got != nil:
			t.Errorf("%s: refused: %v", tt.name, got)
		case tt.rule != "" && (got == nil || got.Rule != tt.rule):
			t.Errorf("%s: %v, want a refusal by %s", tt.name, got, tt.rule)
		case tt.rule != "" && strings.Contains(got.Error(), "web"):
			t.Errorf("%s: the refusal tells whose it is: %v", tt.name, got)
		}
	}
}
