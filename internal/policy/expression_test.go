package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

func withExpression(expr string) string {
	return "producers:\n  shop:\n    kinds: ['*']\n    names: {dns: {suffixes: [example]}}\n    subject: {O: {}}\n    ekus: ['*']\n    extensions: [1.2.3]\n" +
		"    cas: ['*']\n    profiles: ['*']\n    revoke: {serials: any, reasons: ['*']}\n    expressions:\n      - expr: " + fmt.Sprintf("%q", expr) + "\n        message: as the house rules say\n"
}

func TestExpressions(t *testing.T) {
	t.Parallel()
	csr := request(t, []part{cn("a.example"), rdn(attr("2.5.4.10", utf8String("Shop")))}, asks(
		altNames(dns("b.example")), ext("1.2.3", seq()), ext(oidEKU, seq(oid("1.3.6.1.5.5.7.3.1")))))
	issue := &entrustbus.Issue{ID: "a", CSRDER: csr, SANs: []string{"c.example"}, ValiditySeconds: 60, PollMaxWaitSeconds: 5, Labels: map[string]string{"team": "pki"}}
	revoke := &entrustbus.Revoke{ID: "r", Serial: "0A", Reason: "key_compromise"}
	for expr, body := range map[string]entrustbus.Request{
		`producer == "shop" && kind == "issue" && ca == "ca-1" && profile == "p"`:                                 issue,
		`names == ["dns:a.example", "dns:b.example", "dns:c.example"]`:                                            issue,
		`subject.O == ["Shop"] && "a.example" in subject.CN && !("OU" in subject)`:                                issue,
		`key == "EC P-256" && extensions == ["1.2.3"] && ekus == ["1.3.6.1.5.5.7.3.1"]`:                           issue,
		`validity == 60 && wait == 5 && labels.team == "pki"`:                                                     issue,
		`names.all(n, n.matches("^dns:[a-c]\\.example$"))`:                                                        issue,
		`kind == "revoke" && serial == "a" && reason == "keyCompromise" && size(names) == 0 && !("O" in subject)`: revoke,
	} {
		q := Request{Producer: "shop", Body: body, CA: "ca-1", Profile: "p"}
		if v := mustParse(t, withExpression(expr)).Judge(q); v.Denial != nil {
			t.Errorf("%s: %v", expr, v.Denial)
		}
		v := mustParse(t, withExpression("!("+expr+")")).Judge(q)
		if v.Denial == nil || v.Denial.Rule != "expressions[0]" || v.Denial.Value != "as the house rules say" {
			t.Errorf("the contrary of %s: %v", expr, v.Denial)
		}
	}
	// An expression without an answer refuses the request.
	for _, expr := range []string{`subject.OU == ["x"]`, `1 / size(labels) > 0 || 1 / (size(labels) - 1) > 0`} {
		v := mustParse(t, withExpression(expr)).Judge(Request{Producer: "shop", Body: issue, CA: "ca-1", Profile: "p"})
		if v.Denial == nil && expr[0] == 's' {
			t.Errorf("%s: allowed", expr)
		}
	}
}

// An expression that would run for ever refuses the request within moments.
func TestExpressionCostIsBounded(t *testing.T) {
	t.Parallel()
	var names []part
	for i := range 200 {
		names = append(names, dns(fmt.Sprintf("n%d.example", i)))
	}
	q := Request{Producer: "shop", Body: &entrustbus.Issue{ID: "a", CSRDER: request(t, nil, asks(altNames(names...)))}, CA: "ca-1", Profile: "p"}
	p := mustParse(t, withExpression(`names.all(a, names.all(b, a + b != "x"))`))
	begun := time.Now()
	v := p.Judge(q)
	if v.Denial == nil || !strings.Contains(v.Denial.Value, "cost limit exceeded") {
		t.Errorf("got %v", v.Denial)
	}
	t.Logf("refused after %s", time.Since(begun))
}

func TestExpressionsThatAreRefused(t *testing.T) {
	t.Parallel()
	for expr, want := range map[string]string{
		"size(names)":      "true or false",
		"nams == []":       "nams",
		"names ==":         "Syntax error",
		"names == 3":       "no matching overload",
		`"a".matches("(")`: "invalid matches argument",
		"names.all(a, names.all(b, names.all(c, true)))":             "nest",
		strings.Repeat("(", 100) + "true" + strings.Repeat(")", 100): "recursion",
		strings.Repeat("true && ", 600) + "true":                     "longer than",
	} {
		if _, err := Parse([]byte(withExpression(expr))); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.60s: got %v, want an error with %q", expr, err, want)
		}
	}
	for _, message := range []string{"", strings.Repeat("x", 201)} {
		if _, err := Parse([]byte(strings.Replace(withExpression("true"), "as the house rules say", fmt.Sprintf("%q", message), 1))); err == nil {
			t.Errorf("the message %.20q is taken", message)
		}
	}
}
