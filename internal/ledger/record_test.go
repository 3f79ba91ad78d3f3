package ledger_test

import (
	"reflect"
	"testing"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// The headers of a request may hold any bytes. They come back as they were, and
// whoever watches the order can still read its record.
func TestRecordHoldsAnyHeader(t *testing.T) {
	t.Parallel()
	l, js := setup(t)
	want := &ledger.Request{
		Subject: "entrust.request.shop.issue", Body: []byte{0xc1, 0xff},
		Header: map[string][]string{"X-Latin": {"M\xfcller", ""}, "X-\xff": {"\x80"}, "Content-Type": {"application/json"}},
	}
	if err := l.Create(t.Context(), key, &ledger.Record{State: ledger.Parked, Kind: entrustbus.KindIssue, Request: want}); err != nil {
		t.Fatal(err)
	}
	rec, err := l.Get(t.Context(), key)
	if err != nil || !reflect.DeepEqual(rec.Request, want) {
		t.Errorf("came back as %+v, %v", rec.Request, err)
	}
	m, err := streams.Last(t.Context(), js, "KV_ORDERS", "$KV.ORDERS."+key.String())
	if err != nil {
		t.Fatal(err)
	}
	if o, err := entrustbus.DecodeOrder(m.Data); err != nil || o.State != entrustbus.StateParked {
		t.Errorf("a producer reads %+v, %v", o, err)
	}
	rec.State, rec.Request = ledger.Closed, nil
	if err := l.Update(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	if rec, err = l.Get(t.Context(), key); err != nil || rec.Request != nil {
		t.Errorf("a record without a request came back with %+v, %v", rec.Request, err)
	}
}
