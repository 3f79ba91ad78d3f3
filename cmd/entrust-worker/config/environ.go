package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/v2"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
)

// configEnv names the configuration file where no flag does.
const configEnv = envPrefix + "CONFIG"

// certctlPrefix begins the seed's names that are ours. Other CERTCTL_ variables belong
// to certctl itself, which may share the environment.
const certctlPrefix = "CERTCTL_ENTRUST_"

// refused are variables of the nats command that say how to connect, and that the worker
// does not read: to pass them over in silence would connect another way than was meant.
func refused() []string { return []string{"NATS_JWT", "NATS_SEED", "NATS_SOCKS_PROXY"} }

// envLayer reads the environment. Empty variables count as unset, as compose files and
// units like to pass them, but for keys where empty is a value of its own.
func envLayer(all []Key, environ []string) (layer, error) {
	keys := map[string]Key{}
	for _, k := range all {
		keys[k.Env] = k
	}
	var errs []error
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		ours := strings.HasPrefix(name, envPrefix) || strings.HasPrefix(name, certctlPrefix)
		_, known := keys[name]
		switch {
		case value == "":
		case ours && !known && name != configEnv && !serviceLink(name, value):
			errs = append(errs, fmt.Errorf("env %s: unknown name%s", name, similarEnv(all, name)))
		case slices.Contains(refused(), name):
			errs = append(errs, fmt.Errorf("env %s: the worker does not read this variable; put the value into a credentials file (NATS_CREDS) or a context (NATS_CONTEXT)", name))
		}
	}
	if len(errs) > 0 {
		return layer{}, usage.WithHint(usage.Wrap(errors.Join(errs...)), "entrust-worker config --keys lists every environment name")
	}
	k := koanf.New(".")
	err := k.Load(env.Provider(".", env.Opt{
		EnvironFunc: func() []string { return environ },
		TransformFunc: func(name, value string) (string, any) {
			if value == "" && !keys[name].emptyCounts {
				return "", nil
			}
			return keys[name].Path, value
		},
	}), nil)
	return layer{k: k, fromEnv: true, origin: func(k Key) string { return "env " + k.Env }}, err
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
func similarEnv(all []Key, name string) string {
	rest, ok := strings.CutPrefix(name, envPrefix)
	for _, k := range all {
		if ok && strings.ToUpper(strings.ReplaceAll(k.Path, ".", "_")) == rest {
			return ", " + k.Path + " is " + k.Env
		}
	}
	return ""
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
