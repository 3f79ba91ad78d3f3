package entrustbus

import (
	"bytes"
	"encoding/json"
	stdflag "flag"
	"os"
	"path/filepath"
	"testing"
)

// The schemas in docs are made from the tables of fields, so that they cannot say anything else. -update rewrites them.
func TestSchemasAreThoseOfTheTables(t *testing.T) {
	t.Parallel()
	forms := map[string]*form{"result": &resultForm, "refusal": &refusalForm, "event": &eventForm, "answer-ca": &caForm, "answer-check": &checkForm, "answer-policy": &policyCheckForm}
	kindOf := map[string]Kind{}
	for _, kind := range kinds {
		forms["request-"+string(kind)], kindOf["request-"+string(kind)] = kind.blank().form(), kind
	}
	for name, f := range forms {
		got, err := schemaFile(name, f, kindOf[name])
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("..", "docs", "schema", name+".json")
		if stdflag.Lookup("update").Value.String() == "true" {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what the table of fields says, %v (run the test with -update to write it)", path, err)
		}
	}
}

// schemaFile is the JSON Schema of one form.
func schemaFile(name string, f *form, kind Kind) ([]byte, error) {
	about := f.about
	d := document(nil).
		must("$schema", "https://json-schema.org/draft/2020-12/schema").
		must("$id", "https://github.com/entrust-worker/entrust-worker/docs/schema/"+name+".json").
		must("title", f.title)
	object := objectSchema(f.table)
	properties, required := object[1].value.(document), object[2].value
	if kind != "" {
		about += " Unknown keys are ignored; null, empty strings and empty lists count as not given. Workers take more forms of some values than are described here."
		properties = append(document{
			{"v", append(version{}.schema(), pair{"description", "Version of the contract. Absent: 1."})},
			{"kind", document{{"type", "string"}, {"const", string(kind)}, {"description", "Must agree with the subject. Absent: the subject's."}}},
		}, properties...)
	}
	d = d.must("description", about).must("type", "object").must("properties", properties).must("required", required)
	switch given := func(key string) document {
		return document{{"required", []string{key}}, {"properties", document{{key, document{{"minLength", int64(1)}}}}}}
	}; {
	case f.exactlyOne != nil:
		var alternatives []any
		for _, key := range f.exactlyOne {
			alternatives = append(alternatives, given(key))
		}
		d = d.must("oneOf", alternatives)
	case f.atMostOne != nil:
		d = d.must("not", document{{"allOf", []any{given(f.atMostOne[0]), given(f.atMostOne[1])}}})
	}
	flat, err := d.encode(EncodingJSON)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, flat, "", "  "); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}
