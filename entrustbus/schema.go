package entrustbus

import "slices"

// Schema returns the JSON Schema of a message of the contract in one line, nil for an unknown name. Names are those
// of the files in docs/schema: "result", "request-issue", "answer-check", "ask-suspend", …
func Schema(name string) []byte {
	f, kind := formOf(name)
	if f == nil {
		return nil
	}
	flat, err := schemaOf(name, f, kind).encode(EncodingJSON)
	if err != nil {
		panic("entrustbus: encoding a schema: " + err.Error()) // it is made of the tables alone
	}
	return flat
}

// SchemaNames returns the names that Schema knows, in order.
func SchemaNames() []string {
	names := []string{"result", "refusal", "event", "ask-ca", "answer-ca", "answer-check", "answer-policy", "answer-order", "answer-version", "ask-suspend", "answer-suspend"}
	for _, kind := range kinds {
		names = append(names, "request-"+string(kind))
	}
	slices.Sort(names)
	return names
}

// formOf returns the form of a message, and the kind of a request; nil for an unknown name.
func formOf(name string) (*form, Kind) {
	for _, kind := range kinds {
		if name == "request-"+string(kind) {
			return kind.blank().form(), kind
		}
	}
	switch name {
	case "result":
		return &resultForm, ""
	case "refusal":
		return &refusalForm, ""
	case "event":
		return &eventForm, ""
	case "ask-ca":
		return &questionForm, ""
	case "answer-ca":
		return &caForm, ""
	case "answer-check":
		return &checkForm, ""
	case "answer-policy":
		return &policyCheckForm, ""
	case "answer-order":
		return &orderStatusForm, ""
	case "answer-version":
		return &workerVersionForm, ""
	case "ask-suspend":
		return &suspensionForm, ""
	case "answer-suspend":
		return &suspendedForm, ""
	}
	return nil, ""
}

// schemaOf is the JSON Schema of one form.
func schemaOf(name string, f *form, kind Kind) document {
	about := f.about
	d := document(nil).
		must("$schema", "https://json-schema.org/draft/2020-12/schema").
		must("$id", "https://github.com/entrust-worker/entrust-worker/docs/schema/"+name+".json").
		must("title", f.title)
	object := objectSchema(f.table)
	properties, required := object[1].value.(document), object[2].value
	if kind != "" {
		about += " Unknown keys are ignored; null, empty strings and empty lists count as not given. Workers accept more forms of some values than this schema."
		properties = append(document{
			{"v", append(version{}.schema(), pair{"description", "Version of the contract. Absent: 1."})},
			{"kind", document{{"type", "string"}, {"const", string(kind)}, {"description", "Must match the subject. Absent: the kind of the subject."}}},
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
	return d
}
