package entrustbus_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// Any program that has json.Marshal write these types publishes what the contract says, by value and by pointer.
func TestMarshalIsTheContract(t *testing.T) {
	t.Parallel()
	check := func(name string, message any, contract []byte) {
		t.Helper()
		for form, v := range map[string]any{"pointer": message, "value": reflect.ValueOf(message).Elem().Interface()} {
			var got bytes.Buffer
			e := json.NewEncoder(&got)
			e.SetEscapeHTML(false)
			if err := e.Encode(v); err != nil || !bytes.Equal(bytes.TrimSpace(got.Bytes()), contract) {
				t.Errorf("%s by %s: got %s, %v, want %s", name, form, got.Bytes(), err, contract)
			}
		}
		escaped, err := json.Marshal(message) // with \u003c in place of <
		if err != nil {
			t.Fatal(err)
		}
		again := reflect.New(reflect.TypeOf(message).Elem()).Interface()
		if err := json.Unmarshal(escaped, again); err != nil {
			t.Errorf("%s: reading it again: %v", name, err)
		} else if d := difference(again, message); d != "" {
			t.Errorf("%s: read again: %s", name, d)
		}
	}
	for name, r := range sampleRequests(t) {
		contract, err := entrustbus.EncodeRequest(entrustbus.EncodingJSON, r)
		if err != nil {
			t.Fatal(err)
		}
		check(name, r, contract)
	}
	for name, r := range sampleResults(t) {
		contract, err := entrustbus.EncodeResult(entrustbus.EncodingJSON, r)
		if err != nil {
			t.Fatal(err)
		}
		check(name, r, contract)
	}
	refusal, err := entrustbus.DecodeRefusal([]byte(testdata(t, "golden/refusal.json")))
	if err != nil {
		t.Fatal(err)
	}
	check("refusal", refusal, []byte(testdata(t, "golden/refusal.json")))
	event, err := entrustbus.DecodeEvent([]byte(testdata(t, "golden/event.json")))
	if err != nil {
		t.Fatal(err)
	}
	check("event", event, []byte(testdata(t, "golden/event.json")))
	for name, answer := range sampleAnswers(t) {
		check(name, answer, []byte(testdata(t, "golden/"+name+".json")))
	}
}

func TestUnmarshalReadsAsTheWorker(t *testing.T) {
	t.Parallel()
	revoke := entrustbus.Revoke{ID: "before"}
	err := json.Unmarshal([]byte(`{"id":"a","serial":"zz"}`), &revoke)
	wantField(t, "a serial that is none", err, "serial")
	if revoke.ID != "before" {
		t.Errorf("an error left %+v", revoke)
	}
	if err := json.Unmarshal([]byte(`{"id":"a","serial":"12:34:AB","reson":"x"}`), &revoke); err != nil || revoke.ID != "a" || len(revoke.Warnings()) != 1 {
		t.Errorf("got %+v with the warnings %q, %v", revoke, revoke.Warnings(), err)
	}
	var result entrustbus.Result
	var field *entrustbus.FieldError
	if err := json.Unmarshal([]byte(`{"v":2}`), &result); !errors.As(err, &field) || field.Field != "v" {
		t.Errorf("a later version: got %v", err)
	}
}
