package connect

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/config"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
)

// contextFile is what the worker itself reads of a context of the nats command; the
// library reads the rest.
type contextFile struct {
	URL        string `json:"url"`
	SOCKSProxy string `json:"socks_proxy"`
	User       string `json:"user"`
	Password   string `json:"password"`
	Token      string `json:"token"`
	Creds      string `json:"creds"`
	NKey       string `json:"nkey"`
	JWT        string `json:"user_jwt"`
	Seed       string `json:"user_seed"`
	NSC        string `json:"nsc"`
	Cert       string `json:"cert"`
	Key        string `json:"key"`
	CA         string `json:"ca"`
}

// notSupported are the forms of credentials that contexts of the nats command know and
// the worker does not: embedded, or fetched by another program. The library that reads
// them, jsm.go's, would link the NATS server into the worker.
func notSupported() []string { return []string{"data:", "env://", "file://", "nsc://", "op://"} }

// checkContext reads the context before the library does, whose errors quote what they
// could not use: embedded credentials, for one. It returns the option for a JWT, which the
// library passes over.
func checkContext(s *config.Settings, scrub *config.Scrubber) ([]nats.Option, error) {
	name := s.NATS.Context
	path, err := contextPath(name)
	var text []byte
	if err == nil {
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, usage.WithHint(usage.Errorf("reading context %q: %s", name, config.FileProblem(err)), "nats context ls lists the contexts")
	}
	var c contextFile
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, badContext(name, "the file is not JSON, or a value such as url or creds is not text")
	}
	for key, value := range map[string]string{
		"password": c.Password, "token": c.Token, "creds": c.Creds, "nkey": c.NKey, "user_jwt": c.JWT, "user_seed": c.Seed, "key": c.Key, "url": passwordOf(c.URL),
		"socks_proxy": passwordOf(c.SOCKSProxy),
	} {
		scrub.Add("context "+key, value)
	}
	if err := checkTransport(name, &c); err != nil || s.Credentials != "" {
		return nil, err // credentials of the configuration replace the context's
	}
	for _, f := range []struct{ key, value string }{
		{"creds", c.Creds}, {"nkey", c.NKey}, {"user_jwt", c.JWT}, {"user_seed", c.Seed}, {"token", c.Token}, {"password", c.Password}, {"user", c.User},
	} {
		for _, form := range notSupported() {
			if strings.HasPrefix(strings.ToLower(f.value), form) {
				return nil, badContext(name, fmt.Sprintf("%s has the form %s…, which the worker does not support", f.key, form))
			}
		}
	}
	switch {
	case c.NSC != "":
		return nil, badContext(name, "nsc, which runs the nsc command, is not supported")
	case c.User != "": // the library takes the first of these, in this order
		return nil, nil
	case c.Creds != "":
		f := credsFile(expand(c.Creds))
		if _, err := f.jwt(); err != nil {
			return nil, badContext(name, "creds names a file that cannot be used: "+err.Error())
		}
		if _, err := f.sign(nil); err != nil {
			return nil, badContext(name, "creds names a file that cannot be used: "+err.Error())
		}
	case c.NKey != "":
		if _, err := nkeyFile(expand(c.NKey)).public(); err != nil {
			return nil, badContext(name, "nkey names a file that cannot be used: "+err.Error())
		}
	case c.JWT != "" && c.Seed != "":
		return []nats.Option{nats.UserJWTAndSeed(c.JWT, c.Seed)}, nil
	case c.JWT != "": // a bearer's signs nothing
		return []nats.Option{nats.UserJWT(func() (string, error) { return c.JWT, nil }, func([]byte) ([]byte, error) { return nil, nil })}, nil
	}
	return nil, nil
}

// checkTransport checks the files and the proxy that the library uses in any case.
func checkTransport(name string, c *contextFile) error {
	for _, f := range []struct{ key, path string }{{"cert", c.Cert}, {"key", c.Key}, {"ca", c.CA}} {
		if f.path == "" {
			continue
		}
		if _, err := os.ReadFile(expand(f.path)); err != nil {
			return badContext(name, f.key+" names a file that cannot be read: "+config.FileProblem(err))
		}
	}
	return nil
}

func badContext(name, problem string) error {
	return usage.WithHint(usage.Errorf("reading context %q: %s", name, problem),
		"name a file with nats context edit %s; or set NATS_CREDS: its file replaces the context's credentials", name)
}

// contextPath is where the nats command keeps a context. An absolute path is a context's
// file itself.
func contextPath(name string) (string, error) {
	if filepath.IsAbs(name) {
		return name, nil
	}
	if strings.Contains(name, "..") || strings.ContainsRune(name, filepath.Separator) {
		return "", fmt.Errorf("not the name of a context")
	}
	parent := os.Getenv("XDG_CONFIG_HOME")
	if parent == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		parent = filepath.Join(home, ".config")
	}
	return filepath.Join(parent, "nats", "context", name+".json"), nil
}

// expand reads ~ and $NAME as the library does.
func expand(path string) string {
	path = os.ExpandEnv(path)
	if rest, ok := strings.CutPrefix(path, "~"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return home + rest
		}
	}
	return path
}

// passwordOf is the password in a URL, or in the first of several that has one.
func passwordOf(urls string) string {
	_, rest, _ := strings.Cut(urls, "://")
	at := strings.LastIndex(rest, "@")
	if at < 0 {
		return ""
	}
	if _, password, ok := strings.Cut(rest[:at], ":"); ok {
		return password
	}
	return rest[:at]
}
