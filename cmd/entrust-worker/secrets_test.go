package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nkeys"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/config"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

// planted is a secret as people paste it, and the parts by which it is found in output.
type planted struct {
	name, text string
	parts      []string
}

// plant makes secrets of the shapes that there are: one line, a credentials file as it is
// and as a context embeds it, and a key in PEM.
func plant(t *testing.T) []planted {
	t.Helper()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	const line = "hunter2-hunter2"
	creds := fmt.Sprintf("-----BEGIN NATS USER JWT-----\nplantedJWTplanted\n------END NATS USER JWT------\n-----BEGIN USER NKEY SEED-----\n%s\n------END USER NKEY SEED------", seed)
	embedded := "data:;base64," + base64.StdEncoding.EncodeToString([]byte(creds))
	key := "-----BEGIN PRIVATE KEY-----\ncGxhbnRlZHBsYW50ZWRwbGFudGVk\n-----END PRIVATE KEY-----"
	return []planted{
		{"a line", line, []string{line}},
		{"a seed", string(seed), []string{string(seed)}},
		{"a credentials file", creds, []string{string(seed), "plantedJWTplanted"}},
		{"an embedded credentials file", embedded, []string{embedded[20:60]}},
		{"a key", key, []string{"cGxhbnRlZHBsYW50ZWRwbGFudGVk"}},
	}
}

// verbs are calls of the verbs that load the configuration, all of them for the first
// secret, and for the others one for each way in which an error is printed. run ends by
// its context.
func verbs(first bool) [][]string {
	some := [][]string{{"config"}, {"check"}, {"provision", "--dry-run"}, {"run"}}
	if !first {
		return some
	}
	return append(some, [][]string{
		{"config", "--json"}, {"check", "--json"}, {"check", "--format", "nagios"}, {"orders", "ls"}, {"orders", "watch", "web.a"},
		{"dead", "ls"}, {"request", "cancel", "a"}, {"run", "--log-format", "text"}, {"--help"}, {"options"},
	}...)
}

// output runs a verb, and returns all that it printed.
func output(t *testing.T, args, environ []string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	var out lockedBuffer
	execute(ctx, args, environ, strings.NewReader(""), &out, &out)
	return out.String()
}

// environment is enough for every verb, of a server that refuses everyone and a gateway
// that is not there.
func environment(t *testing.T) []string {
	t.Helper()
	srv, err := testbed.Run(testbed.Config{Dir: t.TempDir(), Extra: `authorization { token: "another" }`})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Stop)
	return []string{
		"NATS_URL=" + srv.URL, "NATS_TIMEOUT=100ms", "CERTCTL_ENTRUST_API_URL=https://127.0.0.1:1", "CERTCTL_ENTRUST_CA_ID=ca",
		"CERTCTL_ENTRUST_CLIENT_CERT_PATH=absent.crt", "CERTCTL_ENTRUST_CLIENT_KEY_PATH=absent.key", "ENTRUST_WORKER_HTTP_ADDR=",
	}
}

// No value of a credential setting is ever printed, whatever the value is, wherever it
// was set, and whichever verb meets it.
func TestNoCredentialIsPrinted(t *testing.T) {
	t.Parallel()
	base := environment(t)
	keys := 0
	for _, k := range config.KeysAndForms() {
		if !k.Credential() {
			continue
		}
		keys++
		t.Run(k.Path, func(t *testing.T) {
			t.Parallel()
			for i, p := range plant(t) {
				value := p.text
				if strings.HasSuffix(k.Path, "url") {
					value = "https://user:" + p.text + "@127.0.0.1:1"
				}
				layer := layers(t, k, value)[i%3]
				for _, verb := range verbs(i == 0) {
					args := append(slices.Clone(verb), layer.args...)
					text := output(t, args, append(without(beside(t, base, k), k.Env), layer.environ...))
					for _, part := range p.parts {
						if strings.Contains(text, part) {
							t.Errorf("%s in %s: %v printed it:\n%s", p.name, k.Path, verb, text)
						}
					}
				}
			}
		})
	}
	if keys < 12 {
		t.Errorf("only %d credential keys found", keys)
	}
}

// beside is the environment with what makes the program look at the value of a key: the
// other file of its pair, say.
func beside(t *testing.T, base []string, k config.Key) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "there")
	if err := os.WriteFile(file, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	switch k.Path {
	case "gateway.client_key_path":
		return append(without(base, "CERTCTL_ENTRUST_CLIENT_CERT_PATH"), "CERTCTL_ENTRUST_CLIENT_CERT_PATH="+file)
	case "gateway.client_key_password_file":
		base = without(without(base, "CERTCTL_ENTRUST_CLIENT_CERT_PATH"), "CERTCTL_ENTRUST_CLIENT_KEY_PATH")
		return append(base, "CERTCTL_ENTRUST_CLIENT_CERT_PATH="+file, "CERTCTL_ENTRUST_CLIENT_KEY_PATH="+file)
	case "gateway.client_p12_path", "gateway.client_p12_password_file":
		base = without(without(base, "CERTCTL_ENTRUST_CLIENT_CERT_PATH"), "CERTCTL_ENTRUST_CLIENT_KEY_PATH")
		return append(base, "ENTRUST_WORKER_GATEWAY_CLIENT_P12_PATH="+file)
	case "nats.tls_key":
		return append(slices.Clone(base), "NATS_CERT="+file)
	case "nats.password", "nats.password_file":
		return append(slices.Clone(base), "NATS_USER=worker")
	}
	return base
}

type setting struct{ args, environ []string }

// layers are the ways to set a key.
func layers(t *testing.T, k config.Key, value string) []setting {
	t.Helper()
	text, err := json.Marshal(value) // is YAML too
	if err != nil {
		t.Fatal(err)
	}
	yaml := k.Path + ": " + string(text) + "\n"
	if group, leaf, ok := strings.Cut(k.Path, "."); ok {
		yaml = group + ":\n  " + leaf + ": " + string(text) + "\n"
	}
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	return []setting{
		{environ: []string{k.Env + "=" + value}},
		{args: []string{"--" + k.Flag + "=" + value}},
		{args: []string{"--config", file}},
	}
}

func without(environ []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(e string) bool { return strings.HasPrefix(e, name+"=") })
}

// What a context of the nats command holds is never printed either, in any of the forms
// that contexts have.
func TestNoCredentialOfAContextIsPrinted(t *testing.T) {
	t.Parallel()
	base := environment(t)
	for _, field := range []string{"creds", "nkey", "user_jwt", "user_seed", "token", "password", "user", "key", "url", "socks_proxy", "nsc"} {
		t.Run(field, func(t *testing.T) {
			t.Parallel()
			for i, p := range plant(t) {
				for _, form := range []string{"", []string{"env://", "file://", "nsc://", "op://", "data:;base64,"}[i]} {
					value := form + p.text
					if field == "url" || field == "socks_proxy" {
						value = "nats://user:" + p.text + "@127.0.0.1:1"
					}
					c := map[string]string{"url": strings.TrimPrefix(base[0], "NATS_URL="), field: value}
					if field == "password" {
						c["user"] = "worker"
					}
					text, err := json.Marshal(c)
					if err != nil {
						t.Fatal(err)
					}
					file := filepath.Join(t.TempDir(), "context.json")
					if err := os.WriteFile(file, text, 0o600); err != nil {
						t.Fatal(err)
					}
					for _, verb := range [][]string{{"check"}, {"run"}} {
						out := output(t, verb, append(without(base, "NATS_URL"), "NATS_CONTEXT="+file))
						for _, part := range p.parts {
							if strings.Contains(out, part) {
								t.Errorf("%s as %s%s: %v printed it:\n%s", p.name, form, field, verb, out)
							}
						}
					}
				}
			}
		})
	}
}

// The forms of a context that the worker does not support are named.
func TestContextFormsAreNamed(t *testing.T) {
	t.Parallel()
	base := environment(t)
	for value, want := range map[string]string{
		"data:;base64,aGk=": "creds has the form data:…, which the worker does not support",
		"env://CREDS":       "creds has the form env://…, which",
		"FILE:///x.creds":   "creds has the form file://…, which",
		"nsc://o/a/u":       "creds has the form nsc://…, which",
		"op://vault/item":   "creds has the form op://…, which",
	} {
		file := filepath.Join(t.TempDir(), "context.json")
		if err := os.WriteFile(file, []byte(`{"creds": "`+value+`"}`), 0o600); err != nil {
			t.Fatal(err)
		}
		if out := output(t, []string{"provision", "--dry-run"}, append(base, "NATS_CONTEXT="+file)); !strings.Contains(out, want) {
			t.Errorf("%s: got %s, want %q", value, out, want)
		}
	}
}

// lockedBuffer is a buffer for goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	w  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.String()
}
