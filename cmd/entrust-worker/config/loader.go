package config

import (
	"net/url"
	"strings"

	"github.com/spf13/pflag"
)

// Loader loads the configuration for the verbs of one run of the program. It is for one
// goroutine; its scrubber is safe for concurrent use.
type Loader struct {
	environ []string
	scrub   Scrubber
}

// NewLoader loads from an environment, given as NAME=value.
func NewLoader(environ []string) *Loader { return &Loader{environ: environ} }

// Load loads the configuration without checking whether its values fit together.
func (l *Loader) Load(flags *pflag.FlagSet) (*Settings, error) {
	s, err := load(flags, l.environ)
	if s == nil {
		return nil, err
	}
	for _, k := range KeysAndForms() {
		// A user is no secret by itself, and its name may be an ordinary word.
		if text := s.text(k); k.secret != "" || k.fileOf != "" || k.Path == "nats.user" && s.NATS.Password == "" {
			l.scrub.Add(k.Path, text)
		}
	}
	for u := range strings.SplitSeq(s.NATS.URL, ",") {
		if parsed, err := url.Parse(u); err == nil && parsed.User != nil {
			password, _ := parsed.User.Password()
			l.scrub.Add("nats.url", password)
		}
	}
	return s, err
}

// Log returns how to log about a configuration that cannot be loaded: what each layer that
// can be read says of it, else the defaults.
func (l *Loader) Log(flags *pflag.FlagSet) Log {
	var keys []Key
	var environ []string
	for _, k := range Keys() {
		if !strings.HasPrefix(k.Path, "log.") {
			continue
		}
		keys = append(keys, k)
		if v, ok := lookup(l.environ, k.Env); ok {
			environ = append(environ, k.Env+"="+v)
		}
	}
	s := &Settings{Config: Default(), origin: map[string]string{}, files: map[string]string{}}
	var layers []layer
	if path := configPath(flags, l.environ); path != "" {
		if file, err := fileLayer(path); err == nil {
			layers = append(layers, file)
		}
	}
	if fromEnv, err := envLayer(keys, environ); err == nil {
		layers = append(layers, fromEnv)
	}
	if fromFlags, err := flagLayer(keys, flags); err == nil {
		layers = append(layers, fromFlags)
	}
	for _, from := range layers {
		_ = s.apply(keys, from) // the mistakes in it are what is about to be logged
	}
	return s.Config.Log
}

// Bus loads the configuration for a verb that needs NATS and the streams alone.
func (l *Loader) Bus(flags *pflag.FlagSet) (*Settings, error) {
	s, err := l.Load(flags)
	if err != nil {
		return nil, err
	}
	return s, s.CheckBus()
}

// Worker loads the configuration for a verb that needs all of it. Where only its values
// do not fit together, it returns the settings beside the error.
func (l *Loader) Worker(flags *pflag.FlagSet) (*Settings, error) {
	s, err := l.Load(flags)
	if err != nil {
		return nil, err
	}
	return s, s.CheckWorker()
}

// Scrubber takes the values of credential settings out of text that other packages wrote.
// A verb that finds further credentials, as in a context, adds them.
func (l *Loader) Scrubber() *Scrubber { return &l.scrub }
