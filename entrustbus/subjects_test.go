package entrustbus_test

import (
	"strings"
	"testing"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

func TestSubjects(t *testing.T) {
	t.Parallel()
	var s entrustbus.Subjects
	own := entrustbus.Subjects{Prefix: "acme.pki"}
	for got, want := range map[string]string{
		s.Request("shop", entrustbus.KindIssue):    "entrust.request.shop.issue",
		s.RequestFilter(entrustbus.KindRevoke):     "entrust.request.*.revoke",
		s.Parked("shop", "a"):                      "entrust.parked.shop.a",
		s.ParkedFilter():                           "entrust.parked.*.*",
		s.Due("poll", "shop", "a"):                 "entrust.due.poll.shop.a",
		s.DueFilter("poll"):                        "entrust.due.poll.*.*",
		s.Result("shop", "a"):                      "entrust.result.shop.a",
		s.ResultFilter():                           "entrust.result.*.*",
		s.Dead("shop", "invalid"):                  "entrust.dead.shop.invalid",
		s.DeadFilter():                             "entrust.dead.*.*",
		own.Request("shop", entrustbus.KindCancel): "acme.pki.request.shop.cancel",
		s.Operator("shop", entrustbus.KindResolve): "entrust.operator.shop.resolve",
		s.OperatorFilter(entrustbus.KindComplete):  "entrust.operator.*.complete",
		own.Refused("shop"):                        "acme.pki.refused.shop",
		entrustbus.RequestMsgID("shop", "a", 0):    "shop.a",
		entrustbus.RequestMsgID("shop", "a", 2):    "shop.a.2",
		entrustbus.ResultMsgID("shop", "a", 0):     "shop.a.0",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestParseSubjects(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		prefix, subject, producer, last, field string
	}{
		{"", "entrust.request.shop.issue", "shop", "issue", ""},
		{"acme.pki", "acme.pki.request.shop.track", "shop", "track", ""},
		{"", "entrust.parked.shop.a-1", "shop", "a-1", ""},
		{"", "entrust.due.poll.shop.a-1", "shop", "a-1", ""},
		{"", "entrust.due.shop.a-1", "", "", "subject"},
		{"", "entrust.result.shop.a-1", "shop", "a-1", ""},
		{"", "entrust.dead.shop.wrong-certificate", "shop", "wrong-certificate", ""},
		{"", "entrust.request.shop.renew", "", "", "kind"},
		{"", "entrust.request.shop.*", "", "", "kind"},
		{"", "entrust.request.*.issue", "", "", "producer"},
		{"", "entrust.request..issue", "", "", "producer"},
		{"", "entrust.request.shop.issue.x", "", "", "subject"},
		{"", "entrust.request.shop", "", "", "subject"},
		{"", "entrusted.request.shop.issue", "", "", "subject"},
		{"acme", "entrust.request.shop.issue", "", "", "subject"},
		{"", "entrust.result.shop.*", "", "", "id"},
		{"", "entrust.result.shop.a.b", "", "", "subject"},
		{"", "entrust.dead.shop.>", "", "", "reason"},
		{"", "", "", "", "subject"},
	} {
		s := entrustbus.Subjects{Prefix: row.prefix}
		var producer, last string
		var err error
		switch {
		case strings.Contains(row.subject, ".request."):
			var kind entrustbus.Kind
			producer, kind, err = s.ParseRequest(row.subject)
			last = string(kind)
		case strings.Contains(row.subject, ".due."):
			_, producer, last, err = s.ParseDue(row.subject)
		case strings.Contains(row.subject, ".dead."):
			producer, last, err = s.ParseDead(row.subject)
		default:
			producer, last, err = s.ParseOrder(row.subject)
		}
		if row.field != "" {
			wantField(t, row.subject, err, row.field)
		} else if err != nil || producer != row.producer || last != row.last {
			t.Errorf("%s: got %q %q, %v, want %q %q", row.subject, producer, last, err, row.producer, row.last)
		}
	}
	if producer, _, err := (entrustbus.Subjects{}).ParseRequest("entrust.request.shop.renew"); producer != "shop" || err == nil {
		t.Errorf("an unknown kind: got producer %q, %v: a dead letter could not be filed", producer, err)
	}
}

func TestParseIncoming(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		prefix, subject string
		want            entrustbus.Incoming
		field           string
	}{
		{"", "entrust.request.shop.issue", entrustbus.Incoming{Producer: "shop", Kind: entrustbus.KindIssue}, ""},
		{"", "entrust.operator.shop.issue", entrustbus.Incoming{Producer: "shop", Kind: entrustbus.KindIssue, Operator: true}, ""},
		{"a.b", "a.b.operator.shop.resolve", entrustbus.Incoming{Producer: "shop", Kind: entrustbus.KindResolve, Operator: true}, ""},
		{"", "entrust.operator.shop.complete", entrustbus.Incoming{Producer: "shop", Kind: entrustbus.KindComplete, Operator: true}, ""},
		{"", "entrust.request.shop.complete", entrustbus.Incoming{Producer: "shop"}, "kind"}, // not for producers
		{"", "entrust.request.shop.resolve", entrustbus.Incoming{Producer: "shop"}, "kind"},
		{"", "entrust.operator.shop.renew", entrustbus.Incoming{Producer: "shop", Operator: true}, "kind"},
		{"", "entrust.operator.a$b.issue", entrustbus.Incoming{}, "producer"},
		{"", "entrust.operator.shop.issue.x", entrustbus.Incoming{}, "subject"},
		{"", "entrust.result.shop.a", entrustbus.Incoming{}, "subject"},
	} {
		got, err := entrustbus.Subjects{Prefix: row.prefix}.ParseIncoming(row.subject)
		if got != row.want {
			t.Errorf("%s: got %+v, want %+v", row.subject, got, row.want)
		}
		if row.field != "" {
			wantField(t, row.subject, err, row.field)
		} else if err != nil {
			t.Errorf("%s: %v", row.subject, err)
		}
	}
}
