package consumer_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/order"
)

// The worker publishes a refusal for a request that gets no result, after the dead letter, at
// most ten times a second.
func TestRefusalsAreTold(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{})
	told, err := r.server.Conn(t).SubscribeSync("entrust.refused.>")
	if err != nil {
		t.Fatal(err)
	}
	next := func() *entrustbus.Refusal {
		t.Helper()
		msg, err := told.NextMsg(20 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		got, err := entrustbus.DecodeRefusal(msg.Data)
		if err != nil || msg.Subject != "entrust.refused.shop" || msg.Header.Get("Content-Type") != "application/json" {
			t.Fatalf("on %s: %+v, %v", msg.Subject, got, err)
		}
		return got
	}
	r.run()
	first := &entrustbus.Issue{ID: "one", CSRPEM: csr(t, "one")}
	r.send(first)
	r.result("one")
	r.send(first) // a duplicate changes nothing, and is not refused

	for _, row := range []struct{ body, message, id string }{
		{"{\n  \"id\": \"a b\" }", "id: ", ""},
		{"{\n  \"csr_pem\": \"x\",\n}", "line 3, column 1", ""},
		{"not a request", "body: ", ""},
		{string(mustJSON(t, map[string]string{"id": "one", "csr_pem": csr(t, "two")})), "id: was used before", "one"},
	} {
		r.publish(entrustbus.KindIssue, []byte(row.body))
		got := next()
		if got.ID != row.id || !strings.Contains(got.Message, row.message) || got.Kind != entrustbus.KindIssue || got.Sequence == 0 || time.Since(got.RefusedAt).Abs() > time.Minute {
			t.Errorf("%s: told %+v, want %q", row.body, got, row.message)
		}
		if !strings.Contains(r.log.String(), row.message) {
			t.Errorf("the log does not say %q", row.message)
		}
	}
	r.wantLetters(order.Undecodable, order.Undecodable, order.Invalid, order.Invalid)

	// An operator's request makes no refusal for the producer.
	r.publish(entrustbus.KindIssue, mustJSON(t, map[string]string{"id": "one", "csr_pem": csr(t, "three")}), entrustbus.HeaderReplay, "1")
	// Many at once: all become dead letters, and few become refusals.
	const many = 60
	begun := time.Now()
	for i := range many {
		r.publish(entrustbus.KindIssue, fmt.Appendf(nil, "%d", i))
	}
	r.eventually("all dead letters", func() bool { return r.count(r.layout.Dead) == 4+1+many })
	lasted := time.Since(begun)
	n := 0
	for ; ; n++ {
		if _, err := told.NextMsg(500 * time.Millisecond); err == nats.ErrTimeout {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if most := 10 * (2 + int(lasted/time.Second)); n < 10-4 || n > most { // the four above may be in the same second
		t.Errorf("the producer was told %d times within %v, want 6 to %d", n, lasted, most)
	}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
