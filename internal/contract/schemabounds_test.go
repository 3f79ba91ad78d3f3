package contract

import (
	"encoding/base64"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"math/big"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// declared reads the constants of the package from its source: the values of each type,
// and the names of the bounds. A list in this file would miss a new constant.
func declared(t *testing.T) (values map[string][]string, bounds []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(busDir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	values = map[string][]string{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			for i, name := range spec.Names {
				if strings.HasPrefix(name.Name, "Max") {
					bounds = append(bounds, name.Name)
				}
				if kind, ok := spec.Type.(*ast.Ident); ok && i < len(spec.Values) {
					if literal, ok := spec.Values[i].(*ast.BasicLit); ok && literal.Kind == token.STRING {
						text, err := strconv.Unquote(literal.Value)
						if err != nil {
							t.Fatal(err)
						}
						values[kind.Name] = append(values[kind.Name], text)
					}
				}
			}
			return true
		})
	}
	return values, bounds
}

func TestSchemasMatchConstants(t *testing.T) {
	t.Parallel()
	values, _ := declared(t)
	result := readSchema(t, "result").Properties
	for _, row := range []struct {
		goType string
		enum   []string
		valid  func(string) bool
	}{
		{"Kind", result["kind"].Enum, func(s string) bool { return entrustbus.Kind(s).Valid() }},
		{"Outcome", result["outcome"].Enum, func(s string) bool { return entrustbus.Outcome(s).Valid() }},
		{"Class", result["error"].Properties["class"].Enum, func(s string) bool { return entrustbus.Class(s).Valid() }},
	} {
		got, want := slices.Sorted(slices.Values(row.enum)), slices.Sorted(slices.Values(values[row.goType]))
		if len(want) == 0 || !slices.Equal(got, want) {
			t.Errorf("%s: the schema lists %v, the constants are %v", row.goType, got, want)
		}
		for _, v := range want {
			if !row.valid(v) {
				t.Errorf("%s: %q is a constant, and not valid", row.goType, v)
			}
		}
	}
	for _, kind := range values["Kind"] {
		if _, ok := schemas["request-"+kind]; !ok {
			t.Errorf("there is no schema of %s requests", kind)
		}
	}
	for name := range schemas {
		if strings.HasPrefix(name, "ask-") {
			continue // a question needs no version, because it has no result
		}
		if v := readSchema(t, name).Properties["v"].Const; v != float64(entrustbus.Version) {
			t.Errorf("%s: v is %v, want %d", name, v, entrustbus.Version)
		}
	}
}

// Each bound is in every schema with its key, no schema has another bound, and no bound
// is missing.
func TestSchemasMatchBounds(t *testing.T) {
	t.Parallel()
	token := fmt.Sprintf("^[A-Za-z0-9_-]{1,%d}$", entrustbus.MaxTokenLength)
	text := func(most int) schema { return schema{bounds: bounds{MaxLength: most}} }
	pem, name := text(entrustbus.MaxCSRBytes), text(entrustbus.MaxNameBytes)
	one, count := text(entrustbus.MaxSANBytes), schema{bounds: bounds{Maximum: math.MaxInt32}}
	key, value := text(entrustbus.MaxLabelKeyBytes), text(entrustbus.MaxLabelValueBytes)
	labels := schema{bounds: bounds{MaxProperties: entrustbus.MaxLabels}, PropertyNames: &key, Additional: &value}
	property := schema{bounds: bounds{MaxLength: entrustbus.MaxLabelValueBytes, MaxItems: entrustbus.MaxProperties}}
	usage := text(entrustbus.MaxOIDBytes)
	request := map[string]schema{
		"max_validity_seconds": {bounds: bounds{Maximum: entrustbus.MaxValiditySeconds}},
		"properties":           {bounds: bounds{MaxProperties: entrustbus.MaxProperties}, PropertyNames: &key, Additional: &property},
		"subject_variables":    {bounds: bounds{MaxItems: entrustbus.MaxSubjectVariables}, Items: &schema{}},
		"extensions":           {bounds: bounds{MaxItems: entrustbus.MaxExtensions}, Items: &schema{}},
		"ekus":                 {bounds: bounds{MaxItems: entrustbus.MaxEKUs}, Items: &usage},
		"csr_pem":              pem, "certificate_pem": pem, "csr_der": text(base64.StdEncoding.EncodedLen(entrustbus.MaxCSRBytes)),
		"ca_id": name, "profile_id": name, "common_name": name, "tracking_id": text(entrustbus.MaxTrackingIDBytes),
		"subject_dn": text(entrustbus.MaxSubjectDNBytes), "comment": text(entrustbus.MaxCommentBytes),
		"sans":                  {bounds: bounds{MaxItems: entrustbus.MaxSANs}, Items: &one},
		"validity_period":       text(entrustbus.MaxPeriodBytes),
		"validity_seconds":      {bounds: bounds{Maximum: entrustbus.MaxValiditySeconds}},
		"poll_max_wait_seconds": {bounds: bounds{Maximum: entrustbus.MaxPollMaxWaitSeconds}},
		"labels":                labels,
	}
	result := map[string]schema{"submissions": count, "polls": count, "replay": count, "labels": labels}
	for file := range schemas {
		all := request
		fromWorkers := file == "result" || file == "refusal" || file == "event" || strings.HasPrefix(file, "answer-")
		switch {
		case file == "result" || file == "event":
			all = result
		case file == "ask-suspend":
			line := text(entrustbus.MaxReasonBytes)
			all = map[string]schema{"ca_id": name, "operator": line, "reason": line}
		case strings.HasPrefix(file, "answer-"):
			all = map[string]schema{"validity_seconds": request["validity_seconds"], "submissions": count, "replay": count}
		}
		for key, got := range readSchema(t, file).Properties {
			path, want := file+"."+key, all[key]
			compareBounds(t, path, &got, &want)
			compareBounds(t, path+" items", got.Items, want.Items)
			compareBounds(t, path+" keys", got.PropertyNames, want.PropertyNames)
			compareBounds(t, path+" values", got.Additional, want.Additional)
			switch key {
			case "id", "order", "producer":
				if got.Pattern != token {
					t.Errorf("%s: has the pattern %q, want %q", path, got.Pattern, token)
				}
			}
			if !fromWorkers && got.Type == "string" && got.MaxLength == 0 && got.Pattern == "" && got.Const == nil && got.Enum == nil {
				t.Errorf("%s: has neither bound nor pattern", path)
			}
			counts := got.MaxLength > 0 || got.PropertyNames != nil
			if ascii := key == "csr_der"; counts && !ascii && !strings.Contains(got.Description, "bytes of UTF-8") {
				t.Errorf("%s: does not say that its bound counts bytes, which a schema cannot", path)
			}
		}
	}

	covered := []string{
		"MaxCSRBytes", "MaxNameBytes", "MaxTrackingIDBytes", "MaxSubjectDNBytes", "MaxCommentBytes", "MaxSANs", "MaxSANBytes",
		"MaxValiditySeconds", "MaxPeriodBytes", "MaxPollMaxWaitSeconds", "MaxLabels", "MaxLabelKeyBytes", "MaxLabelValueBytes", "MaxTokenLength",
		"MaxProperties", "MaxSubjectVariables", "MaxExtensions", "MaxEKUs", "MaxOIDBytes",
		"MaxExtensionBytes", // of an item of extensions: TestSchemasAreThoseOfTheTables
		"MaxSerialBits",     // TestSchemaOfSerials
		"MaxReasonBytes",    // of operators' words: TestSchemasAreThoseOfTheTables
		"MaxBodyBytes",      // of a message: no schema can say it
	}
	_, bounds := declared(t)
	if got, want := slices.Sorted(slices.Values(bounds)), slices.Sorted(slices.Values(covered)); !slices.Equal(got, want) {
		t.Errorf("the constants are %v, and compared are %v", got, want)
	}
}

func compareBounds(t *testing.T, path string, got, want *schema) {
	t.Helper()
	if got == nil {
		got = &schema{}
	}
	if want == nil {
		want = &schema{}
	}
	if got.bounds != want.bounds {
		t.Errorf("%s: the schema allows %+v, the Go types %+v", path, got.bounds, want.bounds)
	}
}

// The bound of a serial number is in bits; a schema can only express digits.
func TestSchemaOfSerials(t *testing.T) {
	t.Parallel()
	compiled := compileSchemas(t)["request-revoke"]
	most := new(big.Int).Lsh(big.NewInt(1), entrustbus.MaxSerialBits)
	most.Sub(most, big.NewInt(1))
	tenfold := new(big.Int).Mul(most, big.NewInt(10))
	for serial, want := range map[string]bool{most.String(): true, "000" + most.String(): true, "0": false, tenfold.String(): false} {
		r := entrustbus.Revoke{ID: "a", SerialDecimal: serial}
		if got := r.Validate() == nil; got != want {
			t.Errorf("%s: taken by the Go type: %v, want %v", serial, got, want)
		}
		if got := compiled.Validate(map[string]any{"id": "a", "serial_decimal": serial}) == nil; got != want {
			t.Errorf("%s: taken by the schema: %v, want %v", serial, got, want)
		}
	}
}

// The Go types accept as many bytes as the schemas accept characters, and not one more.
func TestBoundsCountBytes(t *testing.T) {
	t.Parallel()
	compiled := compileSchemas(t)
	for key, most := range map[string]int{
		"comment": entrustbus.MaxCommentBytes, "ca_id": entrustbus.MaxNameBytes,
	} {
		for _, row := range []struct {
			text       string
			goes, fits bool // result of the decoder, result of the schema
		}{
			{strings.Repeat("a", most), true, true},
			{strings.Repeat("a", most+1), false, false},
			{strings.Repeat("ü", most/2), true, true},
			{strings.Repeat("ü", most/2) + "a", false, true}, // why the descriptions speak of bytes
		} {
			body := fmt.Sprintf(`{"id":"a","serial":"1",%q:%q}`, key, row.text)
			_, err := entrustbus.DecodeRequest(entrustbus.KindRevoke, entrustbus.EncodingJSON, []byte(body))
			if got := err == nil; got != row.goes {
				t.Errorf("%s of %d bytes: got %v", key, len(row.text), err)
			}
			v, err := jsonschema.UnmarshalJSON(strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			if err := compiled["request-revoke"].Validate(v); (err == nil) != row.fits {
				t.Errorf("%s of %d bytes: the schema says %v", key, len(row.text), err)
			}
		}
	}
}
