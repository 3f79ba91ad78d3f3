package ledger_test

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"unicode/utf8"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// Get distinguishes a record, no record, a deleted one, and one that this worker cannot read,
// with and without direct get.
func TestGet(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]bool{"from the leader": false, "by direct get": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, js := setup(t)
			if open {
				if err := l.Open(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			kv, err := js.KeyValue(t.Context(), bucket)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := l.Get(t.Context(), key); err != nil || !reflect.DeepEqual(got, order.Stored{}) {
				t.Errorf("a record that never was: %+v, %v", got, err)
			}
			wantStored(t, l, key, write(t, l, key, order.Stored{}, record(order.Awaiting, "T-1")))
			if err := kv.Delete(t.Context(), key.String()); err != nil {
				t.Fatal(err)
			}
			if got, err := l.Get(t.Context(), key); err != nil || got.Phase != "" || got.Revision != 2 {
				t.Errorf("a record that was deleted: %+v, %v; want its revision alone", got, err)
			}
			for _, row := range []struct {
				what  string
				data  []byte
				want  error
				phase order.Phase
			}{
				{"bytes that are no map", []byte("no record"), order.ErrNotARecord, ""},
				{"nothing", nil, order.ErrNotARecord, ""},
				{"a newer format", newer(t, record(order.Indeterminate, "w9")), order.ErrNewerFormat, order.Indeterminate},
			} {
				if _, err := kv.Put(t.Context(), key.String(), row.data); err != nil {
					t.Fatal(err)
				}
				got, err := l.Get(t.Context(), key)
				if !errors.Is(err, row.want) || got.Revision == 0 || got.Phase != row.phase {
					t.Errorf("%s: %+v, %v; want %v and the revision", row.what, got, err, row.want)
				}
			}
		})
	}
}

// All yields every record once while no worker writes, across batches. It skips records that
// were deleted by hand, and continues after records that it cannot read.
func TestAll(t *testing.T) {
	t.Parallel()
	l, js := setup(t)
	kv, err := js.KeyValue(t.Context(), bucket)
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range l.All(t.Context()) {
		t.Fatalf("an empty ledger yielded %v, %v", e, err)
	}
	for name, data := range map[string][]byte{
		"shop.broken": []byte("no record"), "three.tokens.here": []byte("x"), "shop.newer": newer(t, record(order.Awaiting, "T-1")),
	} {
		if _, err := kv.Put(t.Context(), name, data); err != nil {
			t.Fatal(err)
		}
	}
	const n = 600 // several batches: each is bounded in bytes too
	r := record(order.Awaiting, "")
	r.Request = &order.Message{Subject: "entrust.request.shop.issue", Body: make([]byte, 10<<10)}
	for i := range n {
		k := order.Key{Producer: "shop", ID: fmt.Sprint("o", i)}
		r.TrackingID = k.ID
		write(t, l, k, order.Stored{}, r)
	}
	if err := kv.Delete(t.Context(), "shop.o7"); err != nil {
		t.Fatal(err)
	}
	met, broken, later := map[string]uint64{}, 0, 0
	for e, err := range l.All(t.Context()) {
		switch {
		case errors.Is(err, order.ErrNotARecord):
			broken++
		case errors.Is(err, order.ErrNewerFormat):
			if later++; e.Key.ID != "newer" {
				t.Errorf("the record of a newer format is of %q", e.Key)
			}
		case err != nil:
			t.Fatal(err)
		default:
			if e.TrackingID != e.Key.ID || e.Revision == 0 || e.At.IsZero() || met[e.Key.ID] != 0 {
				t.Errorf("yielded %s with tracking id %s and revision %d, before with %d", e.Key, e.TrackingID, e.Revision, met[e.Key.ID])
			}
			met[e.Key.ID] = e.Revision
		}
	}
	if len(met) != n-1 || met["o7"] != 0 || broken != 2 || later != 1 {
		t.Errorf("met %d records, %d that cannot be read and %d newer ones, want %d, 2 and 1; the deleted one was met: %v",
			len(met), broken, later, n-1, met["o7"] != 0)
	}
	for _, err := range l.All(t.Context()) {
		t.Log("the first one met:", err)
		break // a caller may stop
	}
}

// An error of the server ends All, and is not an error about a record.
func TestAllWithoutABucket(t *testing.T) {
	t.Parallel()
	_, js := setup(t)
	n := 0
	for _, err := range ledger.New(js, "NONE").All(t.Context()) {
		if n++; err == nil || errors.Is(err, order.ErrNotARecord) || errors.Is(err, order.ErrNewerFormat) {
			t.Errorf("reading a bucket that does not exist: %v", err)
		}
	}
	if n != 1 {
		t.Errorf("yielded %d values, want one error", n)
	}
}

// The headers of a request may hold any bytes. They are returned unchanged, and all other
// strings of the record stay text in MessagePack.
func TestRecordHoldsAnyHeader(t *testing.T) {
	t.Parallel()
	l, js := setup(t)
	want := &order.Message{
		Subject: "entrust.request.shop.issue", Body: []byte{0xc1, 0xff},
		Header: map[string][]string{"X-Latin": {"M\xfcller", ""}, "X-\xff": {"\x80"}, "Content-Type": {"application/json"}},
	}
	r := record(order.Awaiting, "T-1")
	r.Request = want
	s := write(t, l, key, order.Stored{}, r)
	got, err := l.Get(t.Context(), key)
	if err != nil || !reflect.DeepEqual(got.Request, want) {
		t.Errorf("came back as %+v, %v", got.Request, err)
	}
	m, err := streams.Last(t.Context(), js, "KV_"+bucket, "$KV."+bucket+"."+key.String())
	if err != nil {
		t.Fatal(err)
	}
	var keys map[string]any
	if err := msgpack.Unmarshal(m.Data, &keys); err != nil || keys["phase"] != string(order.Awaiting) {
		t.Errorf("another reader finds %v, %v", keys, err)
	}
	for name, v := range keys {
		if text, ok := v.(string); ok && !utf8.ValidString(text) || !utf8.ValidString(name) {
			t.Errorf("key %q holds a string that is not text", name)
		}
	}
	r = record(order.Closed, "")
	write(t, l, key, s, r)
	if got, err := l.Get(t.Context(), key); err != nil || got.Request != nil {
		t.Errorf("a record without a request came back with %+v, %v", got.Request, err)
	}
}
