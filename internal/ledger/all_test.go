package ledger_test

import (
	"fmt"
	"testing"

	"github.com/entrust-worker/entrust-worker/internal/ledger"
)

// All meets every record once where nobody writes, across batches, passes over
// what was deleted by hand, and reads on past what it cannot read.
func TestAll(t *testing.T) {
	t.Parallel()
	l, js := setup(t)
	kv, err := js.KeyValue(t.Context(), "ORDERS")
	if err != nil {
		t.Fatal(err)
	}
	for rec, err := range l.All(t.Context()) {
		t.Fatalf("an empty ledger yielded %v, %v", rec, err)
	}
	if _, err := kv.Put(t.Context(), "shop.broken", []byte("no record")); err != nil {
		t.Fatal(err)
	}
	const n = 600 // several batches: each is bounded in bytes too
	request := &ledger.Request{Body: make([]byte, 10<<10)}
	for i := range n {
		k := ledger.Key{Producer: "shop", ID: fmt.Sprint("o", i)}
		if err := l.Create(t.Context(), k, &ledger.Record{State: ledger.Parked, TrackingID: k.ID, Request: request}); err != nil {
			t.Fatal(err)
		}
	}
	if err := kv.Delete(t.Context(), "shop.o7"); err != nil {
		t.Fatal(err)
	}
	met, broken := map[string]uint64{}, 0
	for r, err := range l.All(t.Context()) {
		if err != nil {
			broken++
			continue
		}
		if r.TrackingID != r.Key().ID || r.Revision() == 0 || met[r.Key().ID] != 0 {
			t.Errorf("yielded %s with tracking id %s and revision %d, before with %d", r.Key(), r.TrackingID, r.Revision(), met[r.Key().ID])
		}
		met[r.Key().ID] = r.Revision()
	}
	if len(met) != n-1 || met["o7"] != 0 || broken != 1 {
		t.Errorf("met %d records and %d that cannot be read, want %d and 1; the deleted one was met: %v", len(met), broken, n-1, met["o7"] != 0)
	}
}
