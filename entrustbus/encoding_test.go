package entrustbus_test

import (
	"bytes"
	"errors"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

func TestEncodingOf(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		contentType, body string
		want              entrustbus.Encoding
		refused           bool
	}{
		{"application/json", "", entrustbus.EncodingJSON, false},
		{"application/json; charset=utf-8", "", entrustbus.EncodingJSON, false},
		{"Application/JSON ;charset=UTF-8", "[", entrustbus.EncodingJSON, false}, // the header decides
		{"Application/JSON ;charset=UTF-8", "\x80", entrustbus.EncodingMsgpack, true},
		{"application/json", "\xde\x00\x00", entrustbus.EncodingMsgpack, true},
		{"application/msgpack", "x", entrustbus.EncodingMsgpack, false},
		{"application/msgpack", " {", entrustbus.EncodingJSON, true},
		{"application/x-msgpack", "", entrustbus.EncodingMsgpack, false},
		{"application/vnd.msgpack", "", entrustbus.EncodingMsgpack, false},
		{"", "{", entrustbus.EncodingJSON, false},
		{" ", " \n{", entrustbus.EncodingJSON, false},
		{"", "\x80", entrustbus.EncodingMsgpack, false},
		{"", "", entrustbus.EncodingMsgpack, false},
		{"", "\ufeff{", entrustbus.EncodingJSON, false},
		{"", "x{", entrustbus.EncodingMsgpack, false},
		{"application/json; charset=latin1", "{", entrustbus.EncodingJSON, true},
		{"text/json", "{", entrustbus.EncodingJSON, true},
		{"application", "\x80", entrustbus.EncodingMsgpack, true},
	} {
		got, err := entrustbus.EncodingOf(row.contentType, []byte(row.body))
		if row.refused {
			wantField(t, row.contentType, err, "Content-Type")
		}
		if !row.refused && err != nil || got != row.want {
			t.Errorf("EncodingOf(%q, %q) = %v, %v, want %v", row.contentType, row.body, got, err, row.want)
		}
	}
}

// What another producer may write and we do not: other widths, unknown keys, empty values, other forms of a time.
func TestDecodeTakesWhatIsEqual(t *testing.T) {
	t.Parallel()
	csr := testdata(t, "request.pem")
	for _, row := range []struct {
		name string
		enc  entrustbus.Encoding
		body []byte
	}{
		{"plain", entrustbus.EncodingMsgpack, pack(t, map[string]any{"id": "a", "csr_pem": csr, "validity_seconds": 3600})},
		{"uint64", entrustbus.EncodingMsgpack, pack(t, map[string]any{"id": "a", "csr_pem": csr, "validity_seconds": uint64(3600)})},
		{"int16", entrustbus.EncodingMsgpack, pack(t, map[string]any{"id": "a", "csr_pem": csr, "validity_seconds": int16(3600)})},
		{"v and kind", entrustbus.EncodingMsgpack, pack(t, map[string]any{"id": "a", "csr_pem": csr, "validity_seconds": 3600, "v": int8(1), "kind": "issue"})},
		{"empty values", entrustbus.EncodingMsgpack, pack(t, map[string]any{
			"id": "a", "csr_pem": csr, "csr_der": []byte{}, "validity_seconds": 3600, "sans": []string{}, "labels": map[string]string{}, "ca_id": "",
		})},
		{"unknown keys", entrustbus.EncodingMsgpack, pack(t, map[string]any{
			"id": "a", "csr_pem": csr, "validity_seconds": 3600, "x": nil, "y": []any{1.5, true, map[string]any{"z": []byte{1}}}, "when": time.Now(),
		})},
		{"JSON", entrustbus.EncodingJSON, []byte(`{"validity_seconds": 3600, "csr_pem": ` + quote(csr) + `, "\u0069d": "a", "x": [1.5, null, {"y": {}}]}` + "\n")},
		{"JSON with empty values", entrustbus.EncodingJSON, []byte(`{"id":"a","validity_seconds":3600,"csr_pem":` + quote(csr) + `,"csr_der":"","sans":[],"labels":{}}`)},
	} {
		got, err := entrustbus.DecodeRequest(entrustbus.KindIssue, row.enc, row.body)
		if err != nil {
			t.Errorf("%s: %v", row.name, err)
			continue
		}
		if d := difference(got, &entrustbus.Issue{ID: "a", CSRPEM: csr, ValiditySeconds: 3600}); d != "" {
			t.Errorf("%s: %s", row.name, d)
		}
	}
}

func pack(t testing.TB, v any) []byte {
	t.Helper()
	b, err := msgpack.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func quote(s string) string { return `"` + strings.ReplaceAll(s, "\n", `\n`) + `"` }

// An answer must be addressable whenever the id can be read.
func TestDecodeReturnsWhatItCouldRead(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, body, field string
		undecodable       bool
	}{
		{"wrong type", `{"id":"a","labels":{"k":"v"},"csr_pem":5}`, "csr_pem", false},
		{"invalid", `{"id":"a","labels":{"k":"v"},"csr_pem":"x"}`, "csr_pem", false},
		{"other kind", `{"id":"a","labels":{"k":"v"},"kind":"revoke"}`, "kind", false},
		{"later version", `{"id":"a","labels":{"k":"v"},"v":2}`, "v", true},
		{"version before kind and type", `{"v":2,"kind":5,"csr_pem":5,"id":"a","labels":{"k":"v"}}`, "v", true},
	} {
		r, err := entrustbus.DecodeRequest(entrustbus.KindIssue, entrustbus.EncodingJSON, []byte(row.body))
		wantField(t, row.name, err, row.field)
		if r == nil || r.OrderID() != "a" || !maps.Equal(r.LabelMap(), map[string]string{"k": "v"}) {
			t.Errorf("%s: got %+v beside the error", row.name, r)
		}
		var f *entrustbus.FieldError
		if errors.As(err, &f) && f.Undecodable != row.undecodable {
			t.Errorf("%s: Undecodable is %v", row.name, f.Undecodable)
		}
	}
	if r, err := entrustbus.DecodeRequest("renew", entrustbus.EncodingJSON, []byte(`{"id":"a"}`)); r != nil || err == nil {
		t.Errorf("unknown kind: got %v, %v", r, err)
	}
}

// The request must not change when the caller reuses the buffer it was read from.
func TestDecodeKeepsNothingOfTheMessage(t *testing.T) {
	t.Parallel()
	want := &entrustbus.Track{ID: "a", TrackingID: "t", CSRDER: csrDER(t), Labels: map[string]string{"k": "v"}}
	body, err := entrustbus.EncodeRequest(entrustbus.EncodingMsgpack, want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := entrustbus.DecodeRequest(entrustbus.KindTrack, entrustbus.EncodingMsgpack, body)
	if err != nil {
		t.Fatal(err)
	}
	clear(body)
	if d := difference(got, want); d != "" {
		t.Error(d)
	}
}

func TestEncodeRefusesWhatNoReaderTakes(t *testing.T) {
	t.Parallel()
	for _, enc := range encodings {
		for _, row := range []struct {
			field string
			r     entrustbus.Request
		}{
			{"comment", &entrustbus.Revoke{ID: "a", Comment: "\xff"}},
			{"sans", &entrustbus.Issue{ID: "a", SANs: []string{"a", "\xff"}}},
			{"labels", &entrustbus.Cancel{ID: "a", Labels: map[string]string{"\xff": ""}}},
			{"labels", &entrustbus.Cancel{ID: "a", Labels: map[string]string{"a": "\xff"}}},
		} {
			_, err := entrustbus.EncodeRequest(enc, row.r)
			wantField(t, row.field, err, row.field)
		}
		_, err := entrustbus.EncodeResult(enc, &entrustbus.Result{Error: &entrustbus.ResultError{Message: "\xff"}})
		wantField(t, "message", err, "error.message")
		_, err = entrustbus.EncodeResult(enc, &entrustbus.Result{NotAfter: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)})
		wantField(t, "year 10000", err, "not_after")
	}
	if _, err := entrustbus.EncodeRequest(entrustbus.Encoding(7), &entrustbus.Cancel{ID: "a"}); err == nil {
		t.Error("encoding 7 was taken")
	}
}

func TestDecodeResultRefuses(t *testing.T) {
	t.Parallel()
	good := `"id":"a","producer":"p","kind":"issue","outcome":"failed"`
	for _, row := range []struct{ body, field string }{
		{`[]`, "body"},
		{`{"v":2,` + good + `}`, "v"},
		{`{"producer":"p","kind":"issue","outcome":"failed"}`, "id"},
		{`{"id":"a","kind":"issue","outcome":"failed"}`, "producer"},
		{`{"id":"a","producer":"p","outcome":"failed"}`, "kind"},
		{`{"id":"a","producer":"p","kind":"issue"}`, "outcome"},
		{`{"id":"a","producer":"p","kind":"issue","outcome":"lost"}`, "outcome"},
		{`{` + good + `,"polls":-1}`, "polls"},
		{`{` + good + `,"polls":1.0}`, "polls"},
		{`{` + good + `,"replay":4294967296}`, "replay"},
		{`{` + good + `,"possible_duplicate":0}`, "possible_duplicate"},
		{`{` + good + `,"not_after":1767225600}`, "not_after"},
		{`{` + good + `,"not_after":"2026-01-01"}`, "not_after"},
		{`{` + good + `,"error":"no"}`, "error"},
		{`{` + good + `,"error":{}}`, "error.class"},
		{`{` + good + `,"error":{"class":"bad luck"}}`, "error.class"},
		{`{` + good + `,"error":{"class":"other","http_status":"400"}}`, "error.http_status"},
	} {
		r, err := entrustbus.DecodeResult(entrustbus.EncodingJSON, []byte(row.body))
		wantField(t, row.body, err, row.field)
		if r != nil {
			t.Errorf("%s: got a result beside the error", row.body)
		}
	}
	r, err := entrustbus.DecodeResult(entrustbus.EncodingJSON, []byte(`{`+good+`,"not_after":"2026-01-01T01:00:00.5+01:00"}`))
	if want := time.Date(2026, 1, 1, 0, 0, 0, 5e8, time.UTC); err != nil || !reflect.DeepEqual(r.NotAfter, want) {
		t.Errorf("a time of another zone: got %v, %v, want %v", r, err, want)
	}
}

func TestStructureErrorsNameTheKey(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, body, field, problem string }{
		{"twice", `{"id":"a","order":"b","order":"b"}`, "order", "is a duplicate key"},
		{"twice inside labels", `{"id":"a","order":"b","labels":{"k":"v","k":"v"}}`, "labels", "is a duplicate key"},
		{"deep", `{"id":"a","order":"b","labels":[[[[[[[[0]]]]]]]]}`, "body", "nests too deeply"},
		{"many", `{"id":"a","order":"b","labels":[` + strings.Repeat("0,", 4096) + `0]}`, "body", "holds too many values"},
		{"text behind", "{\"id\":\"a\",\"order\":\"b\"}\n  x", "body", "has text behind its JSON object at line 2, column 3"},
		{"a comma too many", "{\"id\":\"a\",\n\"order\":\"b\",}", "body", "is not well-formed JSON at line 2, column 13: invalid character '}' looking for beginning of object key string"},
		{"cut", `{"id":"a","order":"b`, "body", "is not well-formed JSON at line 1, column 20: unexpected end of JSON input"},
		{"not UTF-8", "{\"id\":\"a\",\"order\":\"\xff\"}", "order", "is not UTF-8"},
	} {
		r, err := entrustbus.DecodeRequest(entrustbus.KindCancel, entrustbus.EncodingJSON, []byte(row.body))
		wantField(t, row.name, err, row.field)
		var f *entrustbus.FieldError
		if !errors.As(err, &f) || f.Problem != row.problem || f.Undecodable != (row.field == "body") {
			t.Errorf("%s: got %+v, want %q", row.name, f, row.problem)
		}
		// The id was read, so the request can be answered.
		if r == nil || r.OrderID() != "a" {
			t.Errorf("%s: got %+v beside the error", row.name, r)
		}
	}
	for name, body := range map[string]string{
		"id twice": `{"id":"a","id":"b","order":"c"}`, "id cut": `{"order":"b","id":"a`, "no id": `{"order":"b",}`, "a list": `[1]`,
	} {
		if r, err := entrustbus.DecodeRequest(entrustbus.KindCancel, entrustbus.EncodingJSON, []byte(body)); err == nil || r != nil && r.OrderID() != "" {
			t.Errorf("%s: got %+v, %v", name, r, err)
		}
	}
}

// What stands under keys that the contract does not know is passed over, whatever it is.
func TestUnknownKeysHoldAnything(t *testing.T) {
	t.Parallel()
	order := func(more ...byte) []byte { // a cancel request with one more pair
		return append([]byte("\x83\xa2id\xa1a\xa5order\xa1b"), more...)
	}
	deep := func(n int) []byte { return append(bytes.Repeat([]byte{0x91}, n), 0xc0) }
	for name, body := range map[string][]byte{
		"extension":             order([]byte("\xa1x\xd4\x05\x00")...),
		"bad timestamp":         order([]byte("\xa1x\xc7\x03\xff\x00\x00\x00")...),
		"extension inside":      order([]byte("\xa1x\x81\xa1y\x91\xd4\x05\x00")...),
		"string of no UTF-8":    order([]byte("\xa1x\xa2\xc3\x28")...),
		"integer as key":        order(0x01, 0x02),
		"nil as key":            order(0xc0, 0x02),
		"map as key":            order(0x81, 0xc0, 0xc0, 0x02),
		"key of no UTF-8":       order([]byte("\xa2\xff\xfe\x00")...),
		"a thousand lists deep": order(append([]byte("\xa1x"), deep(1000)...)...),
		"a megabyte deep":       order(append([]byte("\xa1x"), deep(1<<20-100)...)...),
		"a long list":           order(append([]byte("\xa1x\xdd\x00\x0f\x00\x00"), make([]byte, 0x0f0000)...)...),
		"twice":                 append([]byte("\x84\xa2id\xa1a\xa5order\xa1b"), "\xa1x\x00\xa1x\x01"...),
		"keys as bin":           []byte("\x82\xc4\x02id\xa1a\xc4\x05order\xc4\x01b"),
		"bin as text":           []byte("\x82\xa2id\xc4\x01a\xa5order\xc4\x01b"),
	} {
		r, err := entrustbus.DecodeRequest(entrustbus.KindCancel, entrustbus.EncodingMsgpack, body)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if d := difference(r, &entrustbus.Cancel{ID: "a", Order: "b"}); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	for name, value := range map[string]string{
		"deep": strings.Repeat("[", 5000) + strings.Repeat("]", 5000), "many": "[" + strings.Repeat("0,", 200_000) + "0]",
		"half a pair": `"\ud800"`, "twice inside": `{"k":1,"k":2}`, "huge": "1e999999", "no UTF-8": "\"\xff\"",
	} {
		body := `{"id":"a","x":` + value + `,"order":"b","y":` + value + `,"y":null}`
		r, err := entrustbus.DecodeRequest(entrustbus.KindCancel, entrustbus.EncodingJSON, []byte(body))
		if err != nil {
			t.Errorf("JSON, %s: %v", name, err)
		} else if d := difference(r, &entrustbus.Cancel{ID: "a", Order: "b"}); d != "" {
			t.Errorf("JSON, %s: %s", name, d)
		}
	}
}
