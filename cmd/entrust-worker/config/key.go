package main

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// envPrefix begins the environment names of all keys that have no other.
const envPrefix = "ENTRUST_WORKER_"

// key is one leaf of Config.
type key struct {
	path   string // "gateway.url"
	env    string
	flag   string
	short  string
	show   bool
	secret bool
	// inSeconds: the environment gives a plain number of seconds.
	inSeconds bool
	doc       string
	index     []int // of the field, for reflect.Value.FieldByIndex
	kind      reflect.Type
}

// keys are all leaves of Config, in the order of the struct, groups first.
func keys() []key {
	var all []key
	var walk func(t reflect.Type, path string, index []int)
	walk = func(t reflect.Type, path string, index []int) {
		for f := range t.Fields() {
			here := path + f.Tag.Get("koanf")
			at := append(append([]int{}, index...), f.Index...)
			if f.Type.Kind() == reflect.Struct {
				walk(f.Type, here+".", at)
				continue
			}
			k := key{
				path: here, index: at, kind: f.Type,
				env:       f.Tag.Get("env"),
				flag:      f.Tag.Get("flag"),
				short:     f.Tag.Get("short"),
				show:      f.Tag.Get("show") == "true",
				secret:    f.Tag.Get("secret") == "true",
				inSeconds: f.Tag.Get("unit") == "seconds",
				doc:       f.Tag.Get("doc"),
			}
			if k.env == "" {
				k.env = envPrefix + strings.ToUpper(strings.ReplaceAll(here, ".", "_"))
			}
			if k.flag == "" {
				k.flag = strings.NewReplacer(".", "-", "_", "-").Replace(here)
			}
			all = append(all, k)
		}
	}
	walk(reflect.TypeFor[Config](), "", nil)
	return all
}

// Size is a number of bytes.
type Size int64

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
// type. YAML's own types are accepted where they mean the same.
func (k key) parse(raw any, fromEnv bool) (reflect.Value, error) {
	if list, ok := raw.([]any); ok {
		if k.kind != reflect.TypeFor[[]string]() {
			return reflect.Value{}, fmt.Errorf("must be one value, is a list")
		}
		words := make([]string, len(list))
		for i, w := range list {
			words[i] = fmt.Sprint(w)
		}
		return reflect.ValueOf(words), nil
	}
	if _, ok := raw.(map[string]any); ok {
		return reflect.Value{}, fmt.Errorf("must be one value, is a group")
	}
	text := fmt.Sprint(raw)
	if k.kind != reflect.TypeFor[string]() {
		text = strings.TrimSpace(text)
	}
	v, err := k.parseText(text, fromEnv)
	if err != nil {
		return reflect.Value{}, err
	}
	return reflect.ValueOf(v), nil
}

func (k key) parseText(text string, fromEnv bool) (any, error) {
	switch k.kind { // no secret is of any type but string, so that values may be quoted
	case reflect.TypeFor[string]():
		return text, nil
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
	case reflect.TypeFor[[]string]():
		var words []string
		for w := range strings.SplitSeq(text, ",") {
			if w = strings.TrimSpace(w); w != "" {
				words = append(words, w)
			}
		}
		return words, nil
	}
	panic("entrust-worker: no parser for configuration type " + k.kind.String())
}

// format is how a value is printed; it can be read back.
func format(v reflect.Value) string {
	switch v := v.Interface().(type) {
	case []string:
		return strings.Join(v, ",")
	case time.Duration:
		text := v.String() // "720h0m0s"
		if strings.HasSuffix(text, "m0s") {
			text = strings.TrimSuffix(text, "0s")
		}
		if strings.HasSuffix(text, "h0m") {
			text = strings.TrimSuffix(text, "0m")
		}
		return text
	default:
		return fmt.Sprint(v)
	}
}
