package contract

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/entrustbus/entrustbustest"
)

const schemaDir = "../../docs/schema"

// schemas lists the schema files and the Go types that they describe.
var schemas = map[string]reflect.Type{
	"request-issue":    reflect.TypeFor[entrustbus.Issue](),
	"request-revoke":   reflect.TypeFor[entrustbus.Revoke](),
	"request-track":    reflect.TypeFor[entrustbus.Track](),
	"request-cancel":   reflect.TypeFor[entrustbus.Cancel](),
	"request-complete": reflect.TypeFor[entrustbus.Complete](),
	"request-resolve":  reflect.TypeFor[entrustbus.Resolve](),
	"result":           reflect.TypeFor[entrustbus.Result](),
	"refusal":          reflect.TypeFor[entrustbus.Refusal](),
	"event":            reflect.TypeFor[entrustbus.Event](),
	"answer-ca":        reflect.TypeFor[entrustbus.CA](),
	"answer-check":     reflect.TypeFor[entrustbus.Check](),
	"answer-policy":    reflect.TypeFor[entrustbus.PolicyCheck](),
	"answer-order":     reflect.TypeFor[entrustbus.OrderStatus](),
	"answer-suspend":   reflect.TypeFor[entrustbus.Suspended](),
	"answer-version":   reflect.TypeFor[entrustbus.WorkerVersion](),
	"ask-ca": reflect.TypeFor[struct {
		CAID string `json:"ca_id,omitempty"`
	}](),
	"ask-suspend": reflect.TypeFor[entrustbus.Suspension](),
}

// schema is the part of a schema that the test compares with the Go types.
type schema struct {
	Type            any               `json:"type"`
	Description     string            `json:"description"`
	Properties      map[string]schema `json:"properties"`
	Required        []string          `json:"required"`
	Items           *schema           `json:"items"`
	Additional      *schema           `json:"additionalProperties"`
	PropertyNames   *schema           `json:"propertyNames"`
	Format          string            `json:"format"`
	Pattern         string            `json:"pattern"`
	ContentEncoding string            `json:"contentEncoding"`
	Enum            []string          `json:"enum"`
	Const           any               `json:"const"`
	bounds
}

// bounds are the bounds of one value.
type bounds struct {
	MaxLength     int   `json:"maxLength"`
	MaxItems      int   `json:"maxItems"`
	MaxProperties int   `json:"maxProperties"`
	Maximum       int64 `json:"maximum"`
}

func readSchema(t *testing.T, name string) schema {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(schemaDir, name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var s schema
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSchemasMatchTypes(t *testing.T) {
	t.Parallel()
	for name, goType := range schemas {
		s := readSchema(t, name)
		if strings.HasPrefix(name, "request-") {
			// Keys of every request that are not fields of the Go types: the type implies
			// them.
			for key, want := range map[string]any{"v": 1.0, "kind": strings.TrimPrefix(name, "request-")} {
				if s.Properties[key].Const != want {
					t.Errorf("%s: %s must be %v, is %v", name, key, want, s.Properties[key].Const)
				}
				delete(s.Properties, key)
			}
		}
		compareObject(t, name, s, goType)
	}
	files, err := filepath.Glob(filepath.Join(schemaDir, "*.json"))
	if err != nil || len(files) != len(schemas) {
		t.Errorf("there are %d schemas, %v, and %d types", len(files), err, len(schemas))
	}
}

func compareObject(t *testing.T, path string, s schema, goType reflect.Type) {
	t.Helper()
	if s.Type != "object" {
		t.Errorf("%s: has type %v, want object", path, s.Type)
	}
	var keys, required []string
	for _, field := range reflect.VisibleFields(goType) {
		if !field.IsExported() || field.Anonymous || len(field.Index) > 1 {
			continue
		}
		key, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if key == "-" {
			continue // not on the wire
		}
		keys = append(keys, key)
		if options == "" {
			required = append(required, key)
		}
		property, ok := s.Properties[key]
		if !ok {
			t.Errorf("%s: lacks %s", path, key)
			continue
		}
		compareValue(t, path+"."+key, property, field.Type)
	}
	for key := range s.Properties {
		if !slices.Contains(keys, key) {
			t.Errorf("%s: has %s, which %v has not", path, key, goType)
		}
	}
	if got, want := slices.Sorted(slices.Values(s.Required)), slices.Sorted(slices.Values(required)); !slices.Equal(got, want) {
		t.Errorf("%s: requires %v, want %v", path, got, want)
	}
}

func compareValue(t *testing.T, path string, s schema, goType reflect.Type) {
	t.Helper()
	want := ""
	switch goType {
	case reflect.TypeFor[time.Time]():
		if want = "string"; s.Format != "date-time" {
			t.Errorf("%s: has format %q, want date-time", path, s.Format)
		}
	case reflect.TypeFor[[]byte]():
		if want = "string"; s.ContentEncoding != "base64" {
			t.Errorf("%s: has encoding %q, want base64", path, s.ContentEncoding)
		}
	case reflect.TypeFor[[]string]():
		if want = "array"; s.Items == nil || s.Items.Type != "string" {
			t.Errorf("%s: has items other than strings", path)
		}
	case reflect.TypeFor[map[string]string]():
		if want = "object"; s.Additional == nil || s.Additional.Type != "string" {
			t.Errorf("%s: has values other than strings", path)
		}
	case reflect.TypeFor[map[string]any]():
		want = "object"
	case reflect.TypeFor[[]entrustbus.SubjectVariable](), reflect.TypeFor[[]entrustbus.Extension]():
		if want = "array"; s.Items != nil {
			compareObject(t, path+"[]", *s.Items, goType.Elem())
		}
	case reflect.TypeFor[*entrustbus.ResultError]():
		compareObject(t, path, s, goType.Elem())
		return
	case reflect.TypeFor[entrustbus.Kind](), reflect.TypeFor[entrustbus.Outcome](), reflect.TypeFor[entrustbus.Class]():
		want = "string"
		if len(s.Enum) == 0 {
			t.Errorf("%s: lists no values", path)
		}
		for _, v := range s.Enum {
			valid := reflect.ValueOf(v).Convert(goType).Interface().(interface{ Valid() bool }).Valid()
			if !valid {
				t.Errorf("%s: lists %q, which the Go type does not know", path, v)
			}
		}
	default:
		want = map[reflect.Kind]string{
			reflect.String: "string", reflect.Int: "integer", reflect.Int64: "integer", reflect.Uint64: "integer", reflect.Bool: "boolean",
		}[goType.Kind()]
	}
	if want == "" || s.Type != want {
		t.Errorf("%s: has type %v, want %q", path, s.Type, want)
	}
}

func compileSchemas(t *testing.T) map[string]*jsonschema.Schema {
	t.Helper()
	out := map[string]*jsonschema.Schema{}
	for name := range schemas {
		c := jsonschema.NewCompiler()
		c.AssertFormat()
		c.AssertContent()
		s, err := c.Compile(filepath.Join(schemaDir, name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		out[name] = s
	}
	return out
}

func TestGoldenFilesMatchSchemas(t *testing.T) {
	t.Parallel()
	compiled := compileSchemas(t)
	check := func(schema, file string) {
		t.Helper()
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(testdata(t, filepath.Join("golden", file+".json"))))
		if err != nil {
			t.Fatal(err)
		}
		if err := compiled[schema].Validate(v); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	for name, r := range sampleRequests(t) {
		check("request-"+string(r.Kind()), "request-"+name)
	}
	for name := range sampleResults(t) {
		check("result", "result-"+name)
	}
	check("refusal", "refusal")
	check("event", "event")
}

// The schemas accept every request that a worker accepts, here with every key that may be
// empty and then counts as absent.
func TestSchemasTakeWhatWorkersTake(t *testing.T) {
	t.Parallel()
	compiled, text, der := compileSchemas(t), testdata(t, "request.pem"), csrDER(t)
	properties := map[string]map[string]schema{}
	for name := range schemas {
		properties[name] = readSchema(t, name).Properties
	}
	rapid.Check(t, func(t *rapid.T) {
		r := validRequest(t, text, der)
		name := "request-" + string(r.Kind())
		body, err := entrustbus.EncodeRequest(entrustbus.EncodingJSON, r)
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(body, &m); err != nil {
			t.Fatal(err)
		}
		for _, key := range slices.Sorted(maps.Keys(properties[name])) {
			empty := map[any]any{"string": "", "array": []any{}, "object": map[string]any{}}[properties[name][key].Type]
			if _, given := m[key]; !given && empty != nil && rapid.Bool().Draw(t, key+" is empty") {
				m[key] = empty
			}
		}
		if body, err = json.Marshal(m); err != nil {
			t.Fatal(err)
		}
		if _, err := entrustbus.DecodeRequest(r.Kind(), entrustbus.EncodingJSON, body); err != nil {
			t.Fatalf("the decoder refuses %s: %v", body, err)
		}
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(string(body)))
		if err != nil {
			t.Fatal(err)
		}
		if err := compiled[name].Validate(v); err != nil {
			t.Fatalf("the schema refuses %s: %v", body, err)
		}
	})
}

// A schema that accepts everything would pass the test above.
func TestSchemasRefuseWrongTypes(t *testing.T) {
	t.Parallel()
	compiled := compileSchemas(t)
	refused := 0
	for _, m := range entrustbustest.Hostile() {
		_, kind, err := entrustbus.Subjects{}.ParseRequest(m.Subject)
		if err != nil || !strings.HasPrefix(m.Name, "json ") || len(m.Body) > 64<<10 {
			continue // the long messages take a schema's regular expressions seconds
		}
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(string(m.Body)))
		if err != nil {
			continue
		}
		wrong := compiled["request-"+string(kind)].Validate(v) != nil
		if wrong {
			refused++
		} else if _, what, _ := strings.Cut(m.Name, ": "); slices.Contains(wrongTypeNames(), what) {
			t.Errorf("%s: the schema takes it", m.Name)
		}
	}
	if refused < 200 {
		t.Errorf("the schemas refuse %d of the hostile messages, want at least 200", refused)
	}
	good := `{"v":1,"id":"a","producer":"p","kind":"issue","outcome":"issued","submissions":1,"possible_duplicate":false,"polls":0,"replay":0`
	for _, rest := range []string{
		`,"outcome":"lost"}`, `,"not_after":"tomorrow"}`, `,"polls":-1}`, `,"error":{"code":"x"}}`, `,"serial":"0xAB"}`, `,"v":2}`,
	} {
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(good + rest))
		if err != nil {
			t.Fatal(err)
		}
		if compiled["result"].Validate(v) == nil {
			t.Errorf("the schema takes a result with %s", rest)
		}
	}
}

// wrongTypeNames are the messages of the corpus that a schema must refuse: every key of
// every request with every wrong type.
func wrongTypeNames() []string {
	var out []string
	for _, goType := range schemas {
		for _, field := range reflect.VisibleFields(goType) {
			key, _, _ := strings.Cut(field.Tag.Get("json"), ",") // no name contains "-" and ""
			for _, kind := range []string{"nil", "bool", "int", "float", "text", "list", "map"} {
				out = append(out, key+" is "+kind)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// The keys on the wire must be the tags of the Go types.
func TestWireKeysAreTags(t *testing.T) {
	t.Parallel()
	onWire := map[string]map[string]bool{}
	see := func(schema, file string) {
		var m map[string]json.RawMessage
		if err := json.Unmarshal([]byte(testdata(t, filepath.Join("golden", file+".json"))), &m); err != nil {
			t.Fatal(err)
		}
		if onWire[schema] == nil {
			onWire[schema] = map[string]bool{}
		}
		for key := range m {
			onWire[schema][key] = true
		}
	}
	for name, r := range sampleRequests(t) {
		see("request-"+string(r.Kind()), "request-"+name)
	}
	for name := range sampleResults(t) {
		see("result", "result-"+name)
	}
	see("refusal", "refusal")
	see("event", "event")
	for _, name := range []string{"answer-ca", "answer-check", "answer-policy", "answer-order", "answer-suspend", "answer-version"} {
		see(name, name)
	}
	for name := range schemas {
		if strings.HasPrefix(name, "ask-") {
			continue // operators and clients write them: TestDecodeQuestion and TestDecodeSuspension cover them
		}
		got, want := slices.Sorted(maps.Keys(onWire[name])), slices.Sorted(maps.Keys(readSchema(t, name).Properties))
		if !slices.Equal(got, want) {
			t.Errorf("%s: the golden files have the keys %v, the schema %v", name, got, want)
		}
	}
}
