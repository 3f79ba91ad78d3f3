package entrustbus

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
)

// list is a *[]string.
type list struct {
	most, mostBytes int
	rule            func(key string, items []string) error
	item            document // of the schema, without type
}

func (s list) read(f *fieldReader, key string, to any) { *to.(*[]string) = f.list(key) }

func (s list) write(from any) any {
	if v := *from.(*[]string); len(v) > 0 {
		return v
	}
	return nil
}

func (s list) check(key string, of any) error {
	items := *of.(*[]string)
	if s.most > 0 && len(items) > s.most {
		return &FieldError{Field: key, Problem: fmt.Sprintf("has more than %d entries", s.most)}
	}
	if s.rule == nil {
		return nil
	}
	return s.rule(key, items)
}

// content takes the list as a set.
func (s list) content(b []byte, key string, of any) []byte {
	items := slices.Clone(*of.(*[]string))
	slices.Sort(items)
	for _, item := range slices.Compact(items) {
		b = appendPart(b, key, item)
	}
	return b
}

func (s list) schema() document {
	item := document(nil).must("type", "string")
	if s.mostBytes > 0 {
		item = item.must("minLength", int64(1)).must("maxLength", int64(s.mostBytes))
	}
	d := document(nil).must("type", "array")
	if s.most > 0 {
		d = d.must("maxItems", int64(s.most))
	}
	return d.must("items", append(item, s.item...))
}

// labels is a *map[string]string.
type labels struct{}

func (labels) read(f *fieldReader, key string, to any) { *to.(*map[string]string) = f.labels(key) }

func (labels) write(from any) any {
	if v := *from.(*map[string]string); len(v) > 0 {
		return v
	}
	return nil
}

func (labels) check(key string, of any) error { return checkLabels(*of.(*map[string]string)) }

func (labels) content(b []byte, _ string, _ any) []byte { return b }

func (labels) schema() document {
	return document(nil).must("type", "object").must("maxProperties", int64(MaxLabels)).
		must("propertyNames", document(nil).must("minLength", int64(1)).must("maxLength", int64(MaxLabelKeyBytes))).
		must("additionalProperties", document(nil).must("type", "string").must("maxLength", int64(MaxLabelValueBytes)))
}

// properties is a *map[string]any, whose values are a string, a number, a boolean, or a list of them.
type properties struct{}

func (properties) read(f *fieldReader, key string, to any) {
	v, ok := f.get(key, kindMap)
	if !ok || len(v.fields) == 0 {
		return
	}
	out := make(map[string]any, len(v.fields))
	for name, item := range v.fields {
		if item.kind == kindNil && item.flaw == (flaw{}) {
			continue
		}
		var items []any
		given := []value{item}
		if item.kind == kindList {
			given, items = item.list, make([]any, 0, len(item.list))
		}
		for _, one := range given {
			plain, problem := scalarOf(one)
			if problem != "" {
				f.fail(key, problem, "values are strings, numbers, booleans, or lists of these")
				return
			}
			if items = append(items, plain); item.kind != kindList {
				out[name] = plain
			}
		}
		if item.kind == kindList {
			out[name] = items
		}
	}
	if len(out) > 0 {
		*to.(*map[string]any) = out
	}
}

func scalarOf(v value) (plain any, problem string) {
	switch {
	case v.flaw != (flaw{}):
		return nil, v.flaw.problem
	case v.kind == kindText:
		return string(v.text), ""
	case v.kind == kindBool:
		return v.flag, ""
	case v.kind == kindInt:
		return v.number, ""
	case v.kind == kindFloat:
		if plain, ok := canonical(v.float); ok {
			return plain, ""
		}
	}
	return nil, "has a value that is " + v.kind.String()
}

// mostExact is the greatest integer up to which a float64, the only number of many writers of JSON, is exact.
const mostExact = 1<<53 - 1

// canonical is a property's value as it is encoded: integers as int64, numbers without a fraction as integers, lists as
// []any. False for a value of another type.
func canonical(v any) (any, bool) {
	switch v := v.(type) {
	case string, bool, int64:
		return v, true
	case int:
		return int64(v), true
	case float64:
		if v == math.Trunc(v) && math.Abs(v) <= mostExact {
			return int64(v), true
		}
		return v, !math.IsNaN(v) && !math.IsInf(v, 0)
	case []string:
		all := make([]any, len(v))
		for i := range v {
			all[i] = v[i]
		}
		return all, true
	case []any:
		all := make([]any, len(v))
		for i := range v {
			one, ok := canonical(v[i])
			if _, nested := one.([]any); !ok || nested {
				return nil, false
			}
			all[i] = one
		}
		return all, true
	}
	return nil, false
}

func (properties) write(from any) any {
	m := *from.(*map[string]any)
	if len(m) == 0 {
		return nil
	}
	d := make(document, 0, len(m))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		v, ok := canonical(m[name])
		if !ok {
			v = m[name] // check refuses it
		}
		d = d.must(name, v)
	}
	return d
}

func (properties) check(key string, of any) error {
	m := *of.(*map[string]any)
	if len(m) > MaxProperties {
		return &FieldError{Field: key, Problem: fmt.Sprintf("has more than %d entries", MaxProperties)}
	}
	for name, v := range m {
		if name == "" || len(name) > MaxLabelKeyBytes || !graphic(name) {
			return &FieldError{Field: key, Problem: fmt.Sprintf("has a key that is not 1 to %d bytes of text on one line", MaxLabelKeyBytes)}
		}
		v, ok := canonical(v)
		if !ok {
			return &FieldError{Field: key, Problem: "has a value that is not a string, a number, a boolean, or a list of these"}
		}
		items, ok := v.([]any)
		if !ok {
			items = []any{v}
		}
		if len(items) > MaxProperties {
			return &FieldError{Field: key, Problem: fmt.Sprintf("has a list of more than %d values", MaxProperties)}
		}
		for _, item := range items {
			if n, ok := item.(int64); ok && (n > mostExact || n < -mostExact) {
				return &FieldError{Field: key, Problem: "has an integer beyond 53 bits, which many programs cannot hold", Fix: "write it as a string"}
			}
			if s, ok := item.(string); ok && (len(s) > MaxLabelValueBytes || !graphic(s)) {
				return &FieldError{Field: key, Problem: fmt.Sprintf("has a value that is not at most %d bytes of text on one line", MaxLabelValueBytes)}
			}
		}
	}
	return nil
}

func (s properties) content(b []byte, key string, of any) []byte {
	d, _ := s.write(of).(document)
	for _, p := range d {
		text, err := json.Marshal(p.value)
		if err == nil {
			b = appendPart(b, key, strconv.Itoa(len(p.key))+":"+p.key+string(text))
		}
	}
	return b
}

func (properties) schema() document {
	scalar := []string{"string", "number", "boolean"}
	return document(nil).must("type", "object").must("maxProperties", int64(MaxProperties)).
		must("propertyNames", document(nil).must("minLength", int64(1)).must("maxLength", int64(MaxLabelKeyBytes))).
		must("additionalProperties", document(nil).
			must("type", append(slices.Clone(scalar), "array")).
			must("maxLength", int64(MaxLabelValueBytes)).
			must("maxItems", int64(MaxProperties)).
			must("items", document(nil).must("type", scalar).must("maxLength", int64(MaxLabelValueBytes))))
}
