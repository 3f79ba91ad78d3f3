package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
)

// Durations are durations by name: a group of a YAML file, or the same on one line in the
// environment and in flags.
type Durations map[string]time.Duration

// String is what can be read back, "" where there are none.
func (d Durations) String() string {
	texts := map[string]string{}
	for name, one := range d {
		texts[name] = format(reflect.ValueOf(one))
	}
	return oneLine(texts)
}

// Properties are properties of enrollments by the id of a CA and their name.
type Properties map[string]map[string]any

// String is what can be read back, "" where there are none.
func (p Properties) String() string { return oneLine(p) }

func oneLine[T any](m map[string]T) string {
	if len(m) == 0 {
		return ""
	}
	text, err := json.Marshal(m)
	if err != nil {
		return "" // of what was read from YAML everything can be written
	}
	return string(text)
}

// group reads a group of keys: one that the file holds, or text that is YAML, and so JSON.
func group(raw any) (map[string]any, error) {
	if m, ok := raw.(map[string]any); ok {
		return m, nil
	}
	text, ok := raw.(string)
	if !ok {
		return nil, errors.New("must be a group of keys")
	}
	var m map[string]any
	if yaml.Unmarshal([]byte(text), &m) != nil {
		return nil, errors.New(`must be a group of keys, on one line as {"name": "value"}`)
	}
	return m, nil
}

func parseDurations(raw any) (Durations, error) {
	m, err := group(raw)
	if err != nil {
		return nil, err
	}
	all := Durations{}
	for name, v := range m {
		var d usage.Span
		if err := d.Set(fmt.Sprint(v)); err != nil || d <= 0 {
			return nil, fmt.Errorf("must hold durations such as 12h or 90d, has %q for %q", fmt.Sprint(v), name)
		}
		all[name] = time.Duration(d)
	}
	return all, nil
}

func parseProperties(raw any) (Properties, error) {
	m, err := group(raw)
	if err != nil {
		return nil, err
	}
	all := Properties{}
	for ca, v := range m {
		of, ok := v.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("must hold a group of properties for each CA, has none for %q", ca)
		}
		all[ca] = of
	}
	return all, nil
}
