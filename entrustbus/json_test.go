package entrustbus_test

import (
	"testing"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// encoding/json puts U+FFFD in the place of half a surrogate pair: what is refused here was changed before.
func TestHalfSurrogatePairs(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, rest, field string }{
		{"in a value of labels", `"labels":{"a":"x","b":"\ud800"}`, "labels"},
		{"in a key of labels", `"labels":{"\udfffa":"x"}`, "labels"},
		{"in a text", `"order":"b\ud800"`, "order"},
		{"the second half alone", `"order":"\udc00"`, "order"},
		{"two first halves", `"labels":{"a":"\ud83d\ud83d\ude00"}`, "labels"},
		{"the halves the wrong way round", `"labels":{"a":"\ude00\ud83d"}`, "labels"},
		{"something between the halves", `"labels":{"a":"\ud83d \ude00"}`, "labels"},
		{"another escape between the halves", `"labels":{"a":"\ud83d\n\ude00"}`, "labels"},
		{"behind an escaped backslash", `"labels":{"a":"\\\ud83d"}`, "labels"},
	} {
		body := `{"id":"a","order":"b",` + row.rest + `}`
		if row.field == "order" {
			body = `{"id":"a",` + row.rest + `}`
		}
		r, err := entrustbus.DecodeRequest(entrustbus.KindCancel, entrustbus.EncodingJSON, []byte(body))
		wantField(t, row.name, err, row.field)
		if r == nil || r.OrderID() != "a" {
			t.Errorf("%s: got %+v, want the request, so that it can be answered", row.name, r)
		}
	}
	_, err := entrustbus.DecodeRequest(entrustbus.KindIssue, entrustbus.EncodingJSON, []byte(`{"id":"a","csr_pem":"x","sans":["a.example","\ud800"]}`))
	wantField(t, "in a list", err, "sans[1]")

	for name, labels := range map[string]struct{ text, want string }{
		"a pair":                        {`\ud83d\ude00`, "😀"},
		"two pairs":                     {`\ud83d\ude00\uD83D\uDE00`, "😀😀"},
		"U+FFFD itself":                 {"\ufffd", "\ufffd"},
		"U+FFFD escaped":                {`\ufffd`, "\ufffd"},
		"an escaped backslash":          {`\ufffd\\ud800`, `�` + `\ud800`},
		"U+FFFD beside a pair":          {`\ufffd\ud83d\ude00`, "\ufffd😀"},
		"half a pair in an unknown key": {`x"},"y":{"\ud800":["\udc00"]},"z":{"":"`, "x"},
	} {
		body := `{"id":"a","order":"b","labels":{"k":"` + labels.text + `"}}`
		r, err := entrustbus.DecodeRequest(entrustbus.KindCancel, entrustbus.EncodingJSON, []byte(body))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got := r.LabelMap()["k"]; got != labels.want {
			t.Errorf("%s: got %q, want %q", name, got, labels.want)
		}
	}
}
