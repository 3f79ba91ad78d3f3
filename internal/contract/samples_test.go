// Package contract holds the tests of entrustbus that need a server, a schema library or generated input, so that
// entrustbus itself asks for nats.go and msgpack only. It has no code but tests.
package contract

import (
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// busDir is the directory of package entrustbus.
const busDir = "../../entrustbus"

var encodings = []entrustbus.Encoding{entrustbus.EncodingMsgpack, entrustbus.EncodingJSON}

func testdata(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(busDir, "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func csrDER(t testing.TB) []byte {
	t.Helper()
	block, _ := pem.Decode([]byte(testdata(t, "request.pem")))
	return block.Bytes
}

// golden returns the golden files of one sort by their names.
func golden(t testing.TB, sort string) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(busDir, "testdata", "golden", sort+"-*.json"))
	if err != nil || len(files) < 5 {
		t.Fatalf("found %d golden files of %ss, %v", len(files), sort, err)
	}
	all := map[string][]byte{}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		all[strings.TrimPrefix(name, sort+"-")] = []byte(testdata(t, filepath.Join("golden", name+".json")))
	}
	return all
}

// sampleRequests returns the requests in the golden files of entrustbus. Together they
// have every key of every kind.
func sampleRequests(t testing.TB) map[string]entrustbus.Request {
	t.Helper()
	all := map[string]entrustbus.Request{}
	for name, body := range golden(t, "request") {
		kind, _, _ := strings.Cut(name, "-")
		r, err := entrustbus.DecodeRequest(entrustbus.Kind(kind), entrustbus.EncodingJSON, body)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = r
	}
	return all
}

// producerRequests returns the samples of the kinds that producers may use.
func producerRequests(t testing.TB) map[string]entrustbus.Request {
	t.Helper()
	all := sampleRequests(t)
	for name, r := range all {
		if !r.Kind().ForProducers() {
			delete(all, name)
		}
	}
	return all
}

func sampleResults(t testing.TB) map[string]*entrustbus.Result {
	t.Helper()
	all := map[string]*entrustbus.Result{}
	for name, body := range golden(t, "result") {
		r, err := entrustbus.DecodeResult(entrustbus.EncodingJSON, body)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = r
	}
	return all
}

// difference names the first exported field of two requests or results of one type that is not equal.
func difference(got, want any) string {
	g, w := reflect.ValueOf(got), reflect.ValueOf(want)
	if g.Type() != w.Type() {
		return "got a " + g.Type().String() + ", want a " + w.Type().String()
	}
	for i, field := range reflect.VisibleFields(g.Elem().Type()) {
		if field.IsExported() && !reflect.DeepEqual(g.Elem().Field(i).Interface(), w.Elem().Field(i).Interface()) {
			return field.Name + " differs"
		}
	}
	return ""
}

var orderDeadline = time.Date(2026, 3, 1, 12, 0, 0, 5e6, time.UTC)

// packOrder encodes a record like the ledger, with keys that do not concern producers.
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
