package entrustbus_test

import (
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

func TestRefusalOnTheWire(t *testing.T) {
	t.Parallel()
	want := entrustbus.Refusal{
		Version: 1, Producer: "shop", Kind: entrustbus.KindIssue, ID: "order-1", Sequence: 7, Reason: "invalid", Message: "id: was used before",
		RefusedAt: time.Date(2026, 11, 29, 8, 0, 0, 0, time.UTC),
	}
	body, err := entrustbus.EncodeRefusal(&want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := entrustbus.DecodeRefusal(golden(t, "refusal", entrustbus.EncodingJSON, body)); err != nil || *got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	// A later version may add keys and kinds.
	later := `{"v":1,"producer":"shop","kind":"renew","sequence":1,"reason":"x","message":"","refused_at":"2026-11-29T08:00:00Z","more":[{}]}`
	if got, err := entrustbus.DecodeRefusal([]byte(later)); err != nil || got.ID != "" || got.Kind != "renew" {
		t.Errorf("of a later worker: got %+v, %v", got, err)
	}
	for field, body := range map[string]string{
		"v": `{"v":2,"producer":"shop"}`, "producer": `{"producer":"a b"}`, "id": `{"producer":"shop","id":"a.b"}`,
		"sequence": `{"producer":"shop","sequence":-1}`, "body": `[]`, "message": `{"producer":"shop","message":1}`,
	} {
		_, err := entrustbus.DecodeRefusal([]byte(body))
		wantField(t, body, err, field)
	}
}
