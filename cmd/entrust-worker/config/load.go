package main

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

// configEnv names the configuration file where no flag does.
const configEnv = envPrefix + "CONFIG"

// certctlPrefix begins the seed's names that are ours. Other CERTCTL_ variables belong
// to certctl itself, which may share the environment.
const certctlPrefix = "CERTCTL_ENTRUST_"

// settings is the effective configuration and where each value of it came from.
type settings struct {
	Config
	origin map[string]string // by key path: "default", "file PATH", "env NAME", "flag --NAME"
	// credentials is the kind of credentials for NATS that counts, "" for none or those of
	// a context; unused says of the others, by key path, why they do not.
	credentials string
	unused      map[string]string
}

// layer is one source of values.
type layer struct {
	k *koanf.Koanf
	// origin names the source of a key in it.
	origin  func(k key) string
	fromEnv bool
}

// loadConfig puts the layers on top of each other: defaults, file, environment, flags.
// Unknown keys and values of the wrong type are errors in every layer, all told at once.
// It checks no relations; see validate.go.
func loadConfig(flags *pflag.FlagSet, environ []string) (*settings, error) {
	all := keys()
	s := &settings{Config: defaultConfig(), origin: map[string]string{}, unused: map[string]string{}}
	for _, k := range all {
		s.origin[k.path] = "default"
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
		return nil, withHint(&usageError{errors.Join(errs...)}, "entrust-worker config --keys lists every key")
	}
	if err := s.pickCredentials(all); err != nil {
		return nil, err
	}
	if err := s.readSecrets(all); err != nil {
		return nil, &usageError{err}
	}
	return s, nil
}

// apply sets every value of a layer.
func (s *settings) apply(all []key, l layer) []error {
	var errs []error
	known := map[string]bool{}
	root := reflect.ValueOf(&s.Config).Elem()
	for _, k := range all {
		known[k.path] = true
		raw := l.k.Get(k.path)
		if raw == nil {
			continue // absent, or a YAML key without a value
		}
		v, err := k.parse(raw, l.fromEnv)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %s %w", l.origin(k), k.path, err))
			continue
		}
		root.FieldByIndex(k.index).Set(v)
		s.origin[k.path] = l.origin(k)
	}
	for _, path := range l.k.Keys() {
		if known[path] || l.k.Get(path) == nil && isGroup(all, path) {
			continue
		}
		if isGroup(all, path) {
			errs = append(errs, fmt.Errorf("%s: %s must be a group of keys, is a value", l.origin(key{}), path))
			continue
		}
		// A key below one that takes a single value was told above already.
		if !slices.ContainsFunc(all, func(k key) bool { return strings.HasPrefix(path, k.path+".") }) {
			errs = append(errs, fmt.Errorf("%s: unknown key %s%s", l.origin(key{}), path, similar(all, path)))
		}
	}
	return errs
}

func isGroup(all []key, path string) bool {
	return slices.ContainsFunc(all, func(k key) bool { return strings.HasPrefix(k.path, path+".") })
}

// similar is a key that may have been meant, in words.
func similar(all []key, path string) string {
	last := path[strings.LastIndex(path, ".")+1:]
	for _, k := range all {
		if k.path[strings.LastIndex(k.path, ".")+1:] == last {
			return ", did you mean " + k.path + "?"
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

func fileLayer(path string) (layer, error) {
	k := koanf.New(".")
	if err := k.Load(file.Provider(path), yaml.Parser()); err != nil {
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
			return layer{}, usagef("reading configuration: %w", err)
		}
		// YAML errors have several lines.
		return layer{}, usagef("reading configuration file %s: %s", path, strings.Join(strings.Fields(err.Error()), " "))
	}
	return layer{k: k, origin: func(key) string { return "file " + path }}, nil
}

// envLayer reads the environment. Empty variables count as unset, as compose files and
// units like to pass them.
func envLayer(all []key, environ []string) (layer, error) {
	paths := map[string]string{}
	for _, k := range all {
		paths[k.env] = k.path
	}
	var errs []error
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		ours := strings.HasPrefix(name, envPrefix) || strings.HasPrefix(name, certctlPrefix)
		if ours && value != "" && paths[name] == "" && name != configEnv && !serviceLink(name, value) {
			errs = append(errs, fmt.Errorf("env %s: unknown name%s", name, similarEnv(all, name)))
		}
	}
	if len(errs) > 0 {
		return layer{}, withHint(&usageError{errors.Join(errs...)}, "entrust-worker config --keys lists every environment name")
	}
	k := koanf.New(".")
	err := k.Load(env.Provider(".", env.Opt{
		EnvironFunc: func() []string { return environ },
		TransformFunc: func(name, value string) (string, any) {
			if value == "" {
				return "", nil
			}
			return paths[name], value
		},
	}), nil)
	return layer{k: k, fromEnv: true, origin: func(k key) string { return "env " + k.env }}, err
}

// serviceLinks are the names by which Kubernetes tells a pod of the services in its
// namespace: a service called entrust-worker has ENTRUST_WORKER_SERVICE_HOST and so on.
var serviceLinks = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// serviceLink tells a variable of Kubernetes from a mistyped one of ours.
func serviceLink(name, value string) bool {
	if !serviceLinks.MatchString(name) {
		return false
	}
	// _PORT alone might be meant for us; theirs is a URL.
	return !strings.HasSuffix(name, "_PORT") || strings.HasSuffix(name, "_SERVICE_PORT") ||
		serviceLinks.MatchString(strings.TrimSuffix(name, "_PORT")) || serviceURL.MatchString(value)
}

var serviceURL = regexp.MustCompile(`^(tcp|udp|sctp)://`)

// similarEnv is the name of a key that has another name in the environment, in words.
func similarEnv(all []key, name string) string {
	rest, ok := strings.CutPrefix(name, envPrefix)
	for _, k := range all {
		if ok && strings.ToUpper(strings.ReplaceAll(k.path, ".", "_")) == rest {
			return ", " + k.path + " is " + k.env
		}
	}
	return ""
}

// addFlags declares a flag for each key. Those that few people need are not listed.
func addFlags(flags *pflag.FlagSet) {
	flags.String("config", "", "YAML configuration `file` ("+configEnv+")")
	defaults := reflect.ValueOf(defaultConfig())
	for _, k := range keys() {
		usage := k.doc + " (" + k.env + ")"
		flags.StringP(k.flag, k.short, "", usage)
		f := flags.Lookup(k.flag)
		f.Hidden = !k.show
		if k.kind.Kind() == reflect.Bool {
			f.NoOptDefVal = "true"
		}
		if def := format(defaults.FieldByIndex(k.index)); def != "" && !k.secret {
			f.Usage += " Default " + def + "."
		}
	}
}

func flagLayer(all []key, flags *pflag.FlagSet) (layer, error) {
	byFlag := map[string]key{}
	for _, k := range all {
		byFlag[k.flag] = k
	}
	k := koanf.New(".")
	err := k.Load(posflag.ProviderWithFlag(flags, ".", k, func(f *pflag.Flag) (string, any) {
		if !f.Changed {
			return "", nil
		}
		return byFlag[f.Name].path, f.Value.String()
	}), nil)
	return layer{k: k, origin: func(k key) string { return "flag --" + k.flag }}, err
}

// readSecrets replaces each secret that is given by file with what the file holds, less
// a newline at its end.
func (s *settings) readSecrets(all []key) error {
	byPath := map[string]key{}
	for _, k := range all {
		byPath[k.path] = k
	}
	root := reflect.ValueOf(&s.Config).Elem()
	for _, k := range all {
		from, ok := byPath[k.path+"_file"]
		if !k.secret || !ok || s.unused[from.path] != "" {
			continue
		}
		path := root.FieldByIndex(from.index).String()
		if path == "" {
			continue
		}
		if root.FieldByIndex(k.index).String() != "" {
			return fmt.Errorf("%s and %s must not both be set: %s, %s", k.path, from.path, s.origin[k.path], s.origin[from.path])
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("reading %s: %w", from.path, err)
		}
		root.FieldByIndex(k.index).SetString(strings.TrimRight(string(text), "\r\n"))
		s.origin[k.path] = "file " + path
	}
	return nil
}

// lookup finds a variable in an environment given as a list; the last one counts.
func lookup(environ []string, name string) (string, bool) {
	for _, entry := range slices.Backward(environ) {
		if v, ok := strings.CutPrefix(entry, name+"="); ok {
			return v, true
		}
	}
	return "", false
}
