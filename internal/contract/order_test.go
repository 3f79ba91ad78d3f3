package contract

import (
	"errors"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

func TestClientOrder(t *testing.T) {
	t.Parallel()
	b := newBus(t, entrustbus.ClientConfig{})
	if _, err := b.client.Order(t.Context(), "a"); !errors.Is(err, entrustbus.ErrNoOrder) {
		t.Errorf("before a worker began: got %v, want ErrNoOrder", err)
	}
	bucket, err := b.js.KeyValue(t.Context(), "ENTRUST_ORDERS")
	if err != nil {
		t.Fatal(err)
	}
	for key, body := range map[string][]byte{"shop.a": packOrder(t, "awaiting"), "shop.bad": {0xc1}, "web.b": packOrder(t, "closed")} {
		if _, err := bucket.Put(t.Context(), key, body); err != nil {
			t.Fatal(err)
		}
	}
	o, err := b.client.Order(t.Context(), "a")
	if err != nil || o.Phase != entrustbus.PhaseAwaiting || o.TrackingID != "t-1" || time.Since(o.UpdatedAt).Abs() > time.Minute {
		t.Errorf("got %+v, %v", o, err)
	}
	if _, err := b.client.Order(t.Context(), "b"); !errors.Is(err, entrustbus.ErrNoOrder) {
		t.Errorf("another producer's: got %v, want ErrNoOrder", err)
	}
	_, err = b.client.Order(t.Context(), "bad")
	wantField(t, "no record", err, "body")
	_, err = b.client.Order(t.Context(), "a.>")
	wantField(t, "wildcard", err, "id")
	if _, err := newClient(t, b.server, entrustbus.ClientConfig{LedgerBucket: "ELSEWHERE"}).Order(t.Context(), "a"); !errors.Is(err, entrustbus.ErrNoStream) {
		t.Errorf("another bucket: got %v, want ErrNoStream", err)
	}
}
