package entrustbus

import (
	"bytes"
	"encoding/json"
	stdflag "flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The schemas in docs are made from the tables of fields, so that they cannot say anything else. -update rewrites them.
func TestSchemasAreThoseOfTheTables(t *testing.T) {
	t.Parallel()
	dir := filepath.Join("..", "docs", "schema")
	for _, name := range SchemaNames() {
		var got bytes.Buffer
		if err := json.Indent(&got, Schema(name), "", "  "); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got.WriteByte('\n')
		path := filepath.Join(dir, name+".json")
		if stdflag.Lookup("update").Value.String() == "true" {
			if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s is not what the table of fields says, %v (run the test with -update to write it)", path, err)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if name := strings.TrimSuffix(f.Name(), ".json"); !slices.Contains(SchemaNames(), name) {
			t.Errorf("%s is the schema of nothing", f.Name())
		}
	}
	if Schema("answer") != nil {
		t.Error("an unknown name has a schema")
	}
}
