package entrustbus_test

import (
	"errors"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

var orderDeadline = time.Date(2026, 3, 1, 12, 0, 0, 5e6, time.UTC)

// packOrder is a record as the ledger writes it, with keys that are none of a producer's business.
func packOrder(t testing.TB, phase string) []byte {
	t.Helper()
	b, err := msgpack.Marshal(map[string]any{
		"format": 1, "phase": phase, "kind": entrustbus.KindIssue, "tracking_id": "t-1", "deadline": orderDeadline, "generation": 2,
		"digest": []byte{1, 2}, "lease": 5, "submissions": 1,
		"owner": map[string]any{"name": "w"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// wantField checks that err is a *FieldError for this field.
func wantField(t testing.TB, name string, err error, field string) {
	t.Helper()
	var f *entrustbus.FieldError
	if !errors.As(err, &f) || f.Field != field {
		t.Errorf("%s: got %v, want a *FieldError for %q", name, err, field)
	}
}

func TestDecodeOrder(t *testing.T) {
	t.Parallel()
	got, err := entrustbus.DecodeOrder(packOrder(t, "awaiting"))
	if err != nil {
		t.Fatal(err)
	}
	want := entrustbus.Order{
		Phase: entrustbus.PhaseAwaiting, Kind: entrustbus.KindIssue, TrackingID: "t-1", Deadline: orderDeadline, Replay: 2,
	}
	if *got != want {
		t.Errorf("got %+v, want %+v", *got, want)
	}
	_, err = entrustbus.DecodeOrder([]byte{0x80})
	wantField(t, "an empty record", err, "phase")
	_, err = entrustbus.DecodeOrder([]byte{0x81, 0xa5, 'p', 'h', 'a', 's', 'e', 1})
	wantField(t, "a number as phase", err, "phase")
	_, err = entrustbus.DecodeOrder(nil)
	wantField(t, "nothing", err, "body")
}
