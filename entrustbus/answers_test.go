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
	s := entrustbus.Subjects{Prefix: "acme.pki"}
	for _, tc := range []struct {
		subject  string
		producer string
		topic    entrustbus.Topic
		kind     entrustbus.Kind
		field    string
	}{
		{s.Ask("shop", entrustbus.TopicCA), "shop", entrustbus.TopicCA, "", ""},
		{s.Ask("shop", entrustbus.TopicCheck), "shop", entrustbus.TopicCheck, "", ""},
		{s.AskPolicy("shop", entrustbus.KindRevoke), "shop", entrustbus.TopicPolicy, entrustbus.KindRevoke, ""},
		{s.AskPolicy("shop", entrustbus.KindResolve), "shop", entrustbus.TopicPolicy, "", "kind"},
		{"acme.pki.ask.shop.policy", "", "", "", "subject"},
		{"acme.pki.ask.shop.ca.issue", "", "", "", "subject"},
		{"acme.pki.ask.shop.other", "", "", "", "subject"},
		{"acme.pki.ask.shop", "", "", "", "subject"},
		{"entrust.ask.shop.ca", "", "", "", "subject"},
		{"acme.pki.ask.sh*p.ca", "", "", "", "producer"},
		{"acme.pki.ask.shop.policy.issue.more", "shop", entrustbus.TopicPolicy, "", "kind"},
	} {
		producer, topic, kind, err := s.ParseAsk(tc.subject)
		field := fieldOf(err)
		if producer != tc.producer || topic != tc.topic || kind != tc.kind || field != tc.field {
			t.Errorf("%s: got %q, %q, %q, %v; want %q, %q, %q, and an error of %q", tc.subject, producer, topic, kind, err, tc.producer, tc.topic, tc.kind, tc.field)
		}
	}
}
