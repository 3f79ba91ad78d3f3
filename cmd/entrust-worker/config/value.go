package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes.
type Size int64

// String is the size in its largest whole unit.
func (s Size) String() string {
	for _, u := range sizeUnits {
		if s != 0 && s%u.bytes == 0 {
			return fmt.Sprintf("%d%s", s/u.bytes, u.name)
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// sizeUnits is read only, largest first.
var sizeUnits = []struct {
	name  string
	bytes Size
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}

func parseSize(text string) (Size, error) {
	unit := Size(1)
	digits := text
	for _, u := range sizeUnits {
		if d, ok := strings.CutSuffix(text, u.name); ok {
			digits, unit = strings.TrimSpace(d), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > (1<<63-1)/int64(unit) {
		return 0, fmt.Errorf("must be a size such as 512MiB, is %q", text)
	}
	return Size(n) * unit, nil
}

// parse turns what a file, the environment or a flag holds into a value of the key's
// type. YAML's own types are accepted where they mean the same. The error is the problem
// for a FieldError; it quotes no text of a key that may hold a secret.
func (k Key) parse(raw any, fromEnv bool) (reflect.Value, error) {
	switch k.kind {
	case reflect.TypeFor[Durations]():
		d, err := parseDurations(raw)
		return reflect.ValueOf(d), err
	case reflect.TypeFor[Properties]():
		p, err := parseProperties(raw)
		return reflect.ValueOf(p), err
	}
	switch raw.(type) {
	case []any:
		return reflect.Value{}, fmt.Errorf("must be one value, is a list")
	case map[string]any:
		return reflect.Value{}, fmt.Errorf("must be one value, is a group")
	}
	if k.kind.Kind() == reflect.String {
		text, ok := raw.(string)
		if !ok {
			// YAML reads 0123 as 83 and 1e3 as 1000: the text as written is gone.
			return reflect.Value{}, fmt.Errorf("must be text, but YAML reads a number, a date or a boolean; put it in quotes")
		}
		if text = strings.TrimRight(text, "\r\n"); strings.ContainsAny(text, "\n\r\x00") {
			return reflect.Value{}, fmt.Errorf("must be one line; put longer text into a file and set its path")
		}
		return reflect.ValueOf(text).Convert(k.kind), nil
	}
	v, err := k.parseText(strings.TrimSpace(fmt.Sprint(raw)), fromEnv)
	if err != nil {
		return reflect.Value{}, err
	}
	return reflect.ValueOf(v), nil
}

func (k Key) parseText(text string, fromEnv bool) (any, error) {
	switch k.kind { // no secret is of these types, so that values may be quoted
	case reflect.TypeFor[time.Duration]():
		if k.inSeconds && fromEnv {
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil || n < 0 || n > int64(1<<63-1)/int64(time.Second) {
				return nil, fmt.Errorf("must be a whole number of seconds, is %q", text)
			}
			return time.Duration(n) * time.Second, nil
		}
		d, err := time.ParseDuration(text)
		if err != nil {
			return nil, fmt.Errorf("must be a duration such as 30s, 5m or 24h, is %q", text)
		}
		return d, nil
	case reflect.TypeFor[bool]():
		b, err := strconv.ParseBool(text)
		if err != nil {
			return nil, fmt.Errorf("must be true or false, is %q", text)
		}
		return b, nil
	case reflect.TypeFor[int]():
		n, err := strconv.Atoi(text)
		if err != nil {
			return nil, fmt.Errorf("must be a whole number, is %q", text)
		}
		return n, nil
	case reflect.TypeFor[float64]():
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("must be a number, is %q", text)
		}
		return n, nil
	case reflect.TypeFor[Size]():
		return parseSize(text)
	}
	panic("config: no parser for type " + k.kind.String())
}

// format is how a value is printed; it can be read back, a Secret aside.
func format(v reflect.Value) string {
	d, ok := v.Interface().(time.Duration)
	if !ok {
		return fmt.Sprint(v.Interface())
	}
	text := d.String() // "720h0m0s"
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
