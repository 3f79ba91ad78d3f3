package config

import (
	"reflect"
	"slices"
	"strings"
)

// envPrefix begins the environment names of all keys that have no other.
const envPrefix = "ENTRUST_WORKER_"

// Key is one leaf of Config.
type Key struct {
	Path string // "gateway.url"
	Env  string
	Flag string
	Doc  string

	short string
	show  bool
	// emptyCounts: an empty environment variable is a value.
	emptyCounts bool
	secret      string // "value", "file" or ""
	// inSeconds: the environment gives a plain number of seconds.
	inSeconds bool
	// fileOf is the secret whose value is in the file that this names. Such a key is a form
	// of the secret's, and no field of Config.
	fileOf string
	index  []int // of the field, for reflect.Value.FieldByIndex
	kind   reflect.Type
}

// Credential reports whether the key's value is, or may be, a secret: a password, a token,
// the path of a file with one, or a URL with a password in it.
func (k Key) Credential() bool {
	return k.kind == reflect.TypeFor[Secret]() || k.Path == "nats.url" || k.Path == "gateway.url"
}

// Keys are all leaves of Config, in the order of the struct, groups first.
func Keys() []Key {
	var all []Key
	var walk func(t reflect.Type, path string, index []int)
	walk = func(t reflect.Type, path string, index []int) {
		for f := range t.Fields() {
			here := path + f.Tag.Get("koanf")
			at := append(append([]int{}, index...), f.Index...)
			if f.Type.Kind() == reflect.Struct {
				walk(f.Type, here+".", at)
				continue
			}
			k := Key{
				Path: here, index: at, kind: f.Type,
				Env:         f.Tag.Get("env"),
				Flag:        f.Tag.Get("flag"),
				Doc:         f.Tag.Get("doc"),
				short:       f.Tag.Get("short"),
				show:        f.Tag.Get("show") == "true",
				emptyCounts: f.Tag.Get("empty") == "set",
				secret:      f.Tag.Get("secret"),
				inSeconds:   f.Tag.Get("unit") == "seconds",
			}
			if k.Env == "" {
				k.Env = envPrefix + strings.ToUpper(strings.ReplaceAll(here, ".", "_"))
			}
			if k.Flag == "" {
				k.Flag = strings.NewReplacer(".", "-", "_", "-").Replace(here)
			}
			all = append(all, k)
		}
	}
	walk(reflect.TypeFor[Config](), "", nil)
	return all
}

// KeysAndForms are the keys, and behind them the forms by file of the secrets among them.
func KeysAndForms() []Key {
	keys := Keys()
	all := slices.Clone(keys)
	for _, k := range keys {
		if k.secret == "value" {
			all = append(all, k.byFile())
		}
	}
	return all
}

// byFile is the form of a secret that names a file which holds it.
func (k Key) byFile() Key {
	return Key{
		Path: k.Path + "_file", Env: k.Env + "_FILE", Flag: k.Flag + "-file", fileOf: k.Path, kind: reflect.TypeFor[Secret](),
		Doc: "Path of a file that holds " + k.Path + ".",
	}
}
