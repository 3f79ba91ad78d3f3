package config

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
)

// fromDefault is the origin of a value that no layer set.
const fromDefault = "default"

// Settings is the effective configuration and where each value of it came from. It is
// read only once it is loaded, and then safe for concurrent use.
type Settings struct {
	Config
	// Credentials is the kind of credentials for NATS that counts, by its first key:
	// nats.creds, nats.nkey, nats.user, nats.token or nats.url. "" is none, or those of a
	// context.
	Credentials string

	origin map[string]string // by key path: "default", "file PATH", "env NAME", "flag --NAME"
	unused map[string]string // of credentials that do not count, why, by key path
	files  map[string]string // the forms of secrets by file
}

// Origin says where a key's value came from.
func (s *Settings) Origin(path string) string { return s.origin[path] }

// IsDefault reports whether no layer set the key.
func (s *Settings) IsDefault(path string) bool { return s.origin[path] == fromDefault }

// Unused reports whether a key's credentials do not count, since others do.
func (s *Settings) Unused(path string) bool { return s.unused[path] != "" }

// layer is one source of values.
type layer struct {
	k *koanf.Koanf
	// origin names the source of a key in it.
	origin  func(k Key) string
	fromEnv bool
}

// load puts the layers on top of each other: defaults, file, environment, flags. Unknown
// keys and values of the wrong type are errors in every layer, all reported at once. It
// checks no relations; Settings.CheckBus and CheckWorker do.
func load(flags *pflag.FlagSet, environ []string) (*Settings, error) {
	all := KeysAndForms()
	s := &Settings{Config: Default(), origin: map[string]string{}, unused: map[string]string{}, files: map[string]string{}}
	for _, k := range all {
		s.origin[k.Path] = fromDefault
	}
	var layers []layer
	if path := configPath(flags, environ); path != "" {
		l, err := fileLayer(path)
		if err != nil {
			return nil, err
		}
		layers = append(layers, l)
	}
	fromEnv, err := envLayer(all, environ)
	if err != nil {
		return nil, err
	}
	fromFlags, err := flagLayer(all, flags)
	if err != nil {
		return nil, err
	}
	layers = append(layers, fromEnv, fromFlags)

	var errs []error
	for _, l := range layers {
		errs = append(errs, s.apply(all, l)...)
	}
	if len(errs) > 0 {
		return nil, usage.WithHint(usage.Wrap(errors.Join(errs...)), "entrust-worker config --keys lists every key")
	}
	if err := s.pickCredentials(); err != nil {
		return nil, err
	}
	return s, s.readSecrets()
}

// apply sets every value of a layer.
func (s *Settings) apply(all []Key, l layer) []error {
	var errs []error
	known := map[string]bool{}
	root := reflect.ValueOf(&s.Config).Elem()
	for _, k := range all {
		known[k.Path] = true
		raw := l.k.Get(k.Path)
		if raw == nil {
			continue // absent, or a YAML key without a value
		}
		v, err := k.parse(raw, l.fromEnv)
		if err != nil {
			errs = append(errs, &FieldError{Key: k.Path, Problem: err.Error(), From: []string{l.origin(k)}})
			continue
		}
		if s.origin[k.Path] = l.origin(k); k.fileOf != "" {
			s.files[k.Path] = v.String()
			continue
		}
		root.FieldByIndex(k.index).Set(v)
	}
	for _, path := range l.k.Keys() {
		group := slices.ContainsFunc(all, func(k Key) bool { return strings.HasPrefix(k.Path, path+".") })
		below := slices.ContainsFunc(all, func(k Key) bool { return strings.HasPrefix(path, k.Path+".") })
		switch {
		case known[path], below: // below: reported above as a group
		case group && l.k.Get(path) == nil:
		case group:
			errs = append(errs, &FieldError{Key: path, Problem: "must be a group of keys, is a value", From: []string{l.origin(Key{})}})
		default:
			errs = append(errs, &FieldError{Key: path, Problem: "is not a key" + similar(all, path), From: []string{l.origin(Key{})}})
		}
	}
	return errs
}

// similar is a key that may have been meant, in words.
func similar(all []Key, path string) string {
	last := path[strings.LastIndex(path, ".")+1:]
	for _, k := range all {
		if k.Path[strings.LastIndex(k.Path, ".")+1:] == last {
			return ", did you mean " + k.Path + "?"
		}
	}
	return ""
}

func configPath(flags *pflag.FlagSet, environ []string) string {
	if path, _ := flags.GetString("config"); path != "" {
		return path
	}
	path, _ := lookup(environ, configEnv)
	return path
}

// quoted is what YAML's errors quote: it may be a secret.
var quoted = regexp.MustCompile("'[^']*'|\"[^\"]*\"|`[^`]*`")

func fileLayer(path string) (layer, error) {
	k := koanf.New(".")
	if err := k.Load(file.Provider(path), yaml.Parser()); err != nil {
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
			return layer{}, usage.WithHint(usage.Errorf("reading configuration: %w", err), "--config or "+configEnv+" names the file")
		}
		// YAML errors have several lines.
		text := quoted.ReplaceAllString(strings.Join(strings.Fields(err.Error()), " "), "'…'")
		return layer{}, usage.Errorf("reading configuration file %s: %s", path, text)
	}
	return layer{k: k, origin: func(Key) string { return "file " + path }}, nil
}

// readSecrets replaces each secret that is given by file with what the file holds, less
// a newline at its end.
func (s *Settings) readSecrets() error {
	root := reflect.ValueOf(&s.Config).Elem()
	for _, k := range Keys() {
		from := k.byFile().Path
		path := s.files[from]
		if k.secret != "value" || path == "" || s.Unused(from) {
			continue
		}
		if root.FieldByIndex(k.index).String() != "" {
			return usage.Wrap(&FieldError{Key: k.Path, Problem: "and " + from + " must not both be set", From: []string{s.origin[k.Path], s.origin[from]}})
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return usage.Wrap(&FieldError{Key: from, Problem: "names a file that cannot be read: " + FileProblem(err), From: []string{s.origin[from]}})
		}
		root.FieldByIndex(k.index).SetString(strings.TrimRight(string(text), "\r\n"))
		s.origin[k.Path] = s.origin[from]
	}
	return nil
}

// FileProblem is what went wrong with a file, without its path: where a credential
// setting names the file, the path may be the credential itself.
func FileProblem(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return fmt.Sprint(err)
		}
		err = inner
	}
}
