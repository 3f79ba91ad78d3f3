package policy

import (
	"cmp"
	"fmt"
	"maps"
	"strings"

	"github.com/google/cel-go/cel"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// Expression is a condition without a rule of its own, in the Common Expression Language.
// It is evaluated after all other rules have allowed the request.
type Expression struct {
	// Expr must be true, or the request is refused. An expression that fails or exceeds
	// the cost limit refuses the request.
	Expr string `yaml:"expr"`
	// Message is the text for the producer if Expr is not true. Required.
	Message string `yaml:"message"`
}

// Bounds of expressions. CEL counts about one step for a comparison. An expression at
// costLimit takes a few milliseconds.
const (
	maxExpressions      = 20
	maxExpression       = 4096 // bytes
	maxMessage          = 200  // bytes
	maxExpressionNested = 50
	costLimit           = 10_000
	checkEvery          = 100 // loop iterations between two checks of the cost
)

// expression is a compiled Expression.
type expression struct {
	cel.Program
	message string
}

// variables are the variables of an expression.
func variables() []cel.EnvOption {
	texts := cel.ListType(cel.StringType)
	return []cel.EnvOption{
		cel.Variable("producer", cel.StringType),
		cel.Variable("kind", cel.StringType),
		cel.Variable("ca", cel.StringType),
		cel.Variable("profile", cel.StringType),
		cel.Variable("names", texts),                                // dns:www.shop.example, ip:192.0.2.1, …, from all places
		cel.Variable("subject", cel.MapType(cel.StringType, texts)), // values by attribute: subject.O
		cel.Variable("key", cel.StringType),                         // EC P-256
		cel.Variable("extensions", texts),                           // object identifiers
		cel.Variable("ekus", texts),                                 // object identifiers
		cel.Variable("validity", cel.IntType),                       // seconds; 0 if the request has none
		cel.Variable("wait", cel.IntType),                           // seconds; 0 if the request has none
		cel.Variable("serial", cel.StringType),                      // of a revocation, lower-case hexadecimal
		cel.Variable("reason", cel.StringType),                      // of a revocation, as RFC 5280 names it
		cel.Variable("labels", cel.MapType(cel.StringType, cel.StringType)),
		cel.ParserRecursionLimit(maxExpressionNested),
		cel.ParserExpressionSizeLimit(maxExpression),
		cel.ASTValidators(cel.ValidateRegexLiterals(), cel.ValidateComprehensionNestingLimit(2)),
	}
}

func (r *rules) compileExpressions(from Rules) error {
	if len(from.Expressions) == 0 {
		return nil
	}
	if len(from.Expressions) > maxExpressions {
		return fmt.Errorf("expressions: more than %d", maxExpressions)
	}
	env, err := cel.NewEnv(variables()...)
	if err != nil {
		return fmt.Errorf("expressions: %w", err)
	}
	for i, e := range from.Expressions {
		rule := expressionRule(i)
		if e.Message == "" || len(e.Message) > maxMessage || strings.ContainsFunc(e.Message, hidden) {
			return ruleError(rule+".message", e.Message, fmt.Sprintf("must be one line of 1 to %d bytes", maxMessage))
		}
		if len(e.Expr) > maxExpression {
			return fmt.Errorf("%s.expr: longer than %d bytes", rule, maxExpression)
		}
		ast, issues := env.Compile(e.Expr)
		if issues.Err() != nil {
			// The text has a line for each error, with a drawing below.
			return fmt.Errorf("%s.expr: %s", rule, strings.Join(strings.Fields(issues.Err().Error()), " "))
		}
		if !ast.OutputType().IsExactType(cel.BoolType) {
			return ruleError(rule+".expr", e.Expr, "is not a question with the answer true or false")
		}
		program, err := env.Program(ast, cel.CostLimit(costLimit), cel.InterruptCheckFrequency(checkEvery))
		if err != nil {
			return fmt.Errorf("%s.expr: %w", rule, err)
		}
		r.expressions = append(r.expressions, expression{program, e.Message})
	}
	return nil
}

func expressionRule(i int) string { return fmt.Sprintf("expressions[%d]", i) }

// facts are the values for expressions, collected by the other rules.
type facts struct {
	names, extensions, ekus []string
	subject                 map[string][]string
	key, serial, reason     string
}

func (f *facts) attribute(a attribute) {
	if f.subject == nil {
		f.subject = map[string][]string{}
	}
	label := attributeName(a.oid)
	f.subject[label] = append(f.subject[label], a.value)
}

// express evaluates the expressions, unless a rule before them refused the request.
func (j *judgement) express(q Request) {
	if j.rules == nil || len(j.expressions) == 0 || j.Denial != nil {
		return
	}
	f := &j.facts
	labels := map[string]string{}
	maps.Copy(labels, q.Body.LabelMap())
	of := map[string]any{
		"producer": q.Producer, "kind": string(q.Body.Kind()), "ca": q.CA, "profile": q.Profile, "names": list(f.names), "subject": f.subject, "key": f.key,
		"extensions": list(f.extensions), "ekus": list(f.ekus), "validity": int64(0), "wait": int64(0), "serial": f.serial, "reason": f.reason, "labels": labels,
	}
	switch b := q.Body.(type) {
	case *entrustbus.Issue:
		// Up to a cap, the worker may ask the gateway for any validity.
		seconds, _ := demanded(b)
		of["validity"], of["wait"] = cmp.Or(seconds, b.MaxValiditySeconds), b.PollMaxWaitSeconds
	case *entrustbus.Track:
		of["wait"] = b.PollMaxWaitSeconds
	}
	if f.subject == nil {
		of["subject"] = map[string][]string{}
	}
	for i, e := range j.expressions {
		got, _, err := e.Eval(of)
		value := e.message
		if err != nil {
			value += " (it could not be answered: " + cut(err.Error(), 100) + ")"
		}
		j.ask(err == nil && got.Value() == true, expressionRule(i), value, "")
	}
}

// list returns a list that is never nil, because CEL does not accept nil as a list.
func list(s []string) []string { return append([]string{}, s...) }
