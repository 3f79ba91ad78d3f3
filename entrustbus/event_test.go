package entrustbus_test

import (
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

func TestEventOnTheWire(t *testing.T) {
	t.Parallel()
	want := entrustbus.Event{
		Version: 1, ID: "0f1e2d3c", CAID: "part~1", Action: "revoked", HappenedAt: time.Date(2026, 11, 29, 8, 0, 0, 0, time.UTC),
		Serial: "1234abcd", SerialDecimal: "305441741", Reason: "superseded", Detail: "by hand", CertificatePEM: testdata(t, "certificate.pem"),
	}
	body, err := entrustbus.EncodeEvent(&want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := entrustbus.DecodeEvent(golden(t, "event", entrustbus.EncodingJSON, body)); err != nil || *got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := entrustbus.DecodeEvent([]byte(`{"v":1,"id":"a","ca_id":"c","action":"renewed","more":[{}]}`)); err != nil || got.Action != "renewed" {
		t.Errorf("of a later worker: got %+v, %v", got, err)
	}
	for field, body := range map[string]string{"v": `{"v":2,"id":"a"}`, "id": `{"id":"a.b"}`, "body": `[]`, "action": `{"id":"a","action":1}`} {
		_, err := entrustbus.DecodeEvent([]byte(body))
		wantField(t, body, err, field)
	}
}

// A CA's id is one subject token, whatever it is.
func TestSubjectOfEvents(t *testing.T) {
	t.Parallel()
	s := entrustbus.Subjects{}
	for ca, want := range map[string]string{
		"ca-1": "entrust.event.ca-1", "part~1": "entrust.event.part~1",
		"": "entrust.event.=e3b0c44298fc1c149afbf4c8996fb924",
	} {
		if got := s.Event(ca); got != want {
			t.Errorf("the events of %q go to %s, want %s", ca, got, want)
		}
	}
	if s.Event("a.b") == s.Event("a b") || s.Event("a.b") == s.Event("*") {
		t.Error("two CAs share a subject")
	}
}
