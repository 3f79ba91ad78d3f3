package entrustbus_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// sampleAnswers has every key of every answer.
func sampleAnswers(t testing.TB) map[string]any {
	t.Helper()
	cert := testdata(t, "certificate.pem")
	return map[string]any{
		"answer-ca": &entrustbus.CA{
			Version: entrustbus.Version, CAID: "ca-1", CertificatePEM: cert, ChainPEM: cert,
			Warnings: []string{"chain: left out some of the gateway's certificates: 1 not in force"},
		},
		"answer-check": &entrustbus.Check{
			Version: entrustbus.Version, Worker: "host-1", WorkerVersion: "v1.2.3", CAID: "ca-1", ProfileID: "tls-server", Dialect: "cagw",
			GatewayProblem:      "the gateway asked for a pause",
			CredentialsNotAfter: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), CredentialsUsable: true, Policy: "0123456789abcdef0123456789abcdef",
		},
		"answer-policy": &entrustbus.PolicyCheck{
			Version: entrustbus.Version, Rule: "names.dns", Value: "www.web.example", Where: "sans",
			Message:         `the policy refuses "www.web.example" in sans (rule names.dns)`,
			ValiditySeconds: 90 * 86400, MustSign: true, CAID: "ca-1", ProfileID: "tls-server", Policy: "0123456789abcdef0123456789abcdef",
			Warnings: []string{`unknown key "profile" is ignored: did you mean "profile_id"?`},
		},
		"answer-order": &entrustbus.OrderStatus{
			Version: entrustbus.Version, ID: "order-1", Kind: entrustbus.KindIssue, Phase: entrustbus.PhaseAwaiting, Waits: "awaiting approval at the gateway",
			CAID: "ca-1", ProfileID: "tls-server", TrackingID: "t-1", Submissions: 1, Replay: 2, Policy: "0123456789abcdef0123456789abcdef",
			RequestedAt: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), UpdatedAt: time.Date(2026, 12, 1, 0, 0, 1, 0, time.UTC),
			Deadline: time.Date(2026, 12, 2, 0, 0, 0, 0, time.UTC), Outcome: entrustbus.OutcomeIssued, Serial: "0a",
		},
		"answer-version": &entrustbus.WorkerVersion{
			Version: entrustbus.Version, Worker: "host-1", WorkerVersion: "v1.2.3",
			PolicyDigest: strings.Repeat("0123456789abcdef", 4),
		},
		"answer-suspend": &entrustbus.Suspended{
			Version: entrustbus.Version, Changed: true, About: "lane issue, by ann: a drill", Since: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC),
		},
	}
}

func TestGoldenAnswers(t *testing.T) {
	t.Parallel()
	for name, answer := range sampleAnswers(t) {
		for _, enc := range encodings {
			t.Run(name+"/"+enc.String(), func(t *testing.T) {
				got, err := entrustbus.EncodeAnswer(enc, answer)
				if err != nil {
					t.Fatal(err)
				}
				decoded := reflect.New(reflect.TypeOf(answer).Elem()).Interface()
				if err := entrustbus.DecodeAnswer(enc, golden(t, name, enc, got), decoded); err != nil {
					t.Fatalf("decoding the golden file: %v", err)
				}
				if d := difference(decoded, answer); d != "" {
					t.Error(d)
				}
				if err := entrustbus.DecodeAnswer(enc, got[:len(got)/2], decoded); err == nil {
					t.Error("half of it is taken")
				}
			})
		}
	}
}

// fieldOf is the field that an error names, "" where it is none of a field.
func fieldOf(err error) string {
	var e *entrustbus.FieldError
	if errors.As(err, &e) {
		return e.Field
	}
	return ""
}

func TestDecodeQuestion(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, body, want, field string }{
		{"nothing", "", "", ""},
		{"an empty object", "{}", "", ""},
		{"a CA", `{"v":1,"ca_id":"ca-1"}`, "ca-1", ""},
		{"null is nothing", `{"ca_id":null}`, "", ""},
		{"unknown keys", `{"other":[1],"ca_id":"ca-1"}`, "ca-1", ""},
		{"a number", `{"ca_id":1}`, "", "ca_id"},
		{"a dot segment", `{"ca_id":".."}`, "..", "ca_id"},
		{"too long", `{"ca_id":"` + strings.Repeat("a", entrustbus.MaxNameBytes+1) + `"}`, strings.Repeat("a", entrustbus.MaxNameBytes+1), "ca_id"},
		{"another version", `{"v":2}`, "", "v"},
		{"no object", `[]`, "", "body"},
	} {
		ca, err := entrustbus.DecodeQuestion(entrustbus.EncodingJSON, []byte(tc.body))
		field := fieldOf(err)
		if field != tc.field || err == nil && ca != tc.want {
			t.Errorf("%s: got %q, %v; want %q and an error of %q", tc.name, ca, err, tc.want, tc.field)
		}
	}
}

func TestParseAsk(t *testing.T) {
	t.Parallel()
	type q = entrustbus.Question
	s := entrustbus.Subjects{Prefix: "acme.pki"}
	for _, tc := range []struct {
		subject string
		want    q
		field   string
	}{
		{s.Ask("shop", entrustbus.TopicCA), q{Producer: "shop", Topic: entrustbus.TopicCA}, ""},
		{s.Ask("shop", entrustbus.TopicCheck), q{Producer: "shop", Topic: entrustbus.TopicCheck}, ""},
		{s.Ask("shop", entrustbus.TopicVersion), q{Producer: "shop", Topic: entrustbus.TopicVersion}, ""},
		{s.AskPolicy("shop", entrustbus.KindRevoke), q{Producer: "shop", Topic: entrustbus.TopicPolicy, Kind: entrustbus.KindRevoke}, ""},
		{s.AskPolicy("shop", entrustbus.KindResolve), q{Producer: "shop", Topic: entrustbus.TopicPolicy}, "kind"},
		{s.AskOrder("shop", "order-1"), q{Producer: "shop", Topic: entrustbus.TopicOrder, ID: "order-1"}, ""},
		{s.AskOrder("shop", "order.1"), q{Producer: "shop", Topic: entrustbus.TopicOrder}, "id"},
		{s.AskOperator(entrustbus.TopicSuspend), q{}, "subject"}, // no question of a producer
		{s.AskOperator(entrustbus.TopicCheck), q{}, "producer"},
		{s.Ask("shop", entrustbus.TopicSuspend), q{}, "subject"},
		{"acme.pki.ask.shop.order", q{}, "subject"},
		{"acme.pki.ask.shop.version.1", q{}, "subject"},
		{"acme.pki.ask.shop.policy", q{}, "subject"},
		{"acme.pki.ask.shop.ca.issue", q{}, "subject"},
		{"acme.pki.ask.shop.other", q{}, "subject"},
		{"acme.pki.ask.shop", q{}, "subject"},
		{"entrust.ask.shop.ca", q{}, "subject"},
		{"acme.pki.ask.sh*p.ca", q{}, "producer"},
		{"acme.pki.ask.shop.policy.issue.more", q{Producer: "shop", Topic: entrustbus.TopicPolicy}, "kind"},
	} {
		got, err := s.ParseAsk(tc.subject)
		if field := fieldOf(err); got != tc.want || field != tc.field {
			t.Errorf("%s: got %+v, %v; want %+v, and an error of %q", tc.subject, got, err, tc.want, tc.field)
		}
	}
}

// A mistake in what an operator orders must not stop more than was meant.
func TestDecodeSuspension(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, body string
		want       entrustbus.Suspension
		field      string
	}{
		{"a lane", `{"lane":"issue","operator":"ann","reason":"a drill"}`, entrustbus.Suspension{Lane: "issue", Operator: "ann", Reason: "a drill"}, ""},
		{"all keys that name calls", `{"v":1,"lane":"poll","producer":"shop","ca_id":"ca-1","operator":"ann"}`, entrustbus.Suspension{Lane: "poll", Producer: "shop", CAID: "ca-1", Operator: "ann"}, ""},
		{"every call", `{"all":true,"operator":"ann"}`, entrustbus.Suspension{All: true, Operator: "ann"}, ""},
		{"nothing named", `{"operator":"ann"}`, entrustbus.Suspension{}, "all"},
		{"an empty name", `{"producer":"","operator":"ann"}`, entrustbus.Suspension{}, "all"},
		{"a mistyped key", `{"lane":"issue","procuder":"shop","operator":"ann"}`, entrustbus.Suspension{}, "procuder"},
		{"both", `{"lane":"issue","all":true,"operator":"ann"}`, entrustbus.Suspension{}, "all"},
		{"no operator", `{"lane":"issue"}`, entrustbus.Suspension{}, "operator"},
		{"a reason of two lines", `{"lane":"issue","operator":"ann","reason":"a\nb"}`, entrustbus.Suspension{}, "reason"},
		{"another version", `{"v":2,"lane":"issue","operator":"ann"}`, entrustbus.Suspension{}, "v"},
		{"nothing", ``, entrustbus.Suspension{}, "body"},
	} {
		got, err := entrustbus.DecodeSuspension(entrustbus.EncodingJSON, []byte(tc.body))
		if field := fieldOf(err); field != tc.field || err == nil && *got != tc.want {
			t.Errorf("%s: got %+v, %v; want %+v and an error of %q", tc.name, got, err, tc.want, tc.field)
		}
	}
	want := entrustbus.Suspension{Lane: "poll", Producer: "shop", CAID: "ca-1", Operator: "ann", Reason: "a drill"}
	for _, enc := range encodings {
		body, err := entrustbus.EncodeSuspension(enc, &want)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := entrustbus.DecodeSuspension(enc, body); err != nil || *got != want {
			t.Errorf("%s: got %+v, %v", enc, got, err)
		}
	}
}
