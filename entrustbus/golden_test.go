package entrustbus_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// golden compares got with a file, or rewrites the file. It returns the file's content.
func golden(t *testing.T, name string, enc entrustbus.Encoding, got []byte) []byte {
	t.Helper()
	path := filepath.Join("testdata", "golden", name+"."+enc.String())
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (run the test with -update to write it)", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs:\ngot  %q\nwant %q", path, got, want)
	}
	return want
}

func TestGoldenRequests(t *testing.T) {
	t.Parallel()
	for name, r := range sampleRequests(t) {
		for _, enc := range encodings {
			t.Run(name+"/"+enc.String(), func(t *testing.T) {
				got, err := entrustbus.EncodeRequest(enc, r)
				if err != nil {
					t.Fatal(err)
				}
				want := golden(t, "request-"+name, enc, got)
				decoded, err := entrustbus.DecodeRequest(r.Kind(), enc, want)
				if err != nil {
					t.Fatalf("decoding the golden file: %v", err)
				}
				if d := difference(decoded, r); d != "" {
					t.Error(d)
				}
			})
		}
	}
}

func TestGoldenResults(t *testing.T) {
	t.Parallel()
	for name, r := range sampleResults(t) {
		for _, enc := range encodings {
			t.Run(name+"/"+enc.String(), func(t *testing.T) {
				got, err := entrustbus.EncodeResult(enc, r)
				if err != nil {
					t.Fatal(err)
				}
				decoded, err := entrustbus.DecodeResult(enc, golden(t, "result-"+name, enc, got))
				if err != nil {
					t.Fatalf("decoding the golden file: %v", err)
				}
				if d := difference(decoded, r); d != "" {
					t.Error(d)
				}
			})
		}
	}
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
