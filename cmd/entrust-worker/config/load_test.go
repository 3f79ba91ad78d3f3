package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// The names that the contract fixes.
func TestFixedEnvironmentNames(t *testing.T) {
	t.Parallel()
	byEnv := map[string]string{}
	for _, k := range Keys() {
		if other := byEnv[k.Env]; other != "" {
			t.Errorf("%s and %s share the name %s", k.Path, other, k.Env)
		}
		byEnv[k.Env] = k.Path
	}
	for env, path := range map[string]string{
		"CERTCTL_ENTRUST_API_URL":               "gateway.url",
		"CERTCTL_ENTRUST_CLIENT_CERT_PATH":      "gateway.client_cert_path",
		"CERTCTL_ENTRUST_CLIENT_KEY_PATH":       "gateway.client_key_path",
		"CERTCTL_ENTRUST_CA_ID":                 "gateway.ca_id",
		"CERTCTL_ENTRUST_PROFILE_ID":            "gateway.profile_id",
		"CERTCTL_ENTRUST_POLL_MAX_WAIT_SECONDS": "poll.max_wait",
		"ENTRUST_WORKER_GATEWAY_DIALECT":        "gateway.dialect",
		"ENTRUST_WORKER_GATEWAY_SERVER_CA_PATH": "gateway.server_ca_path",
		"ENTRUST_WORKER_ON_LOST_REPLY":          "on_lost_reply",
		"ENTRUST_WORKER_ON_ROLLBACK":            "on_rollback",
		"ENTRUST_WORKER_SUBMIT_MAX_WAIT":        "submit_max_wait",
		"ENTRUST_WORKER_GATEWAY_APPROVAL":       "gateway.approval",
		"ENTRUST_WORKER_HTTP_ADDR":              "http.addr",
		"ENTRUST_WORKER_ISSUE_CONCURRENCY":      "issue_concurrency",
		"ENTRUST_WORKER_REVOKE_CONCURRENCY":     "revoke_concurrency",
		"ENTRUST_WORKER_POLL_CONCURRENCY":       "poll_concurrency",
		"ENTRUST_WORKER_ACK_WAIT":               "ack_wait",
		"ENTRUST_WORKER_PROVISION":              "provision",
		"ENTRUST_WORKER_REPLICAS":               "replicas",
		"NATS_URL":                              "nats.url",
		"NATS_CREDS":                            "nats.creds",
		"NATS_CONTEXT":                          "nats.context",
		"NATS_NKEY":                             "nats.nkey",
		"NATS_USER":                             "nats.user",
		"NATS_PASSWORD":                         "nats.password",
		"NATS_TOKEN":                            "nats.token",
		"NATS_CERT":                             "nats.tls_cert",
		"NATS_KEY":                              "nats.tls_key",
		"NATS_CA":                               "nats.tls_ca",
		"NATS_TIMEOUT":                          "nats.timeout",
	} {
		if byEnv[env] != path {
			t.Errorf("%s sets %q, want %q", env, byEnv[env], path)
		}
	}
}

func TestEveryKeyIsComplete(t *testing.T) {
	t.Parallel()
	flags, secrets := map[string]string{}, 0
	for _, k := range KeysAndForms() {
		if !strings.HasSuffix(k.Doc, ".") || strings.Contains(k.Doc, "|") {
			t.Errorf("%s: its documentation must be sentences without bars: %q", k.Path, k.Doc)
		}
		if other := flags[k.Flag]; other != "" {
			t.Errorf("%s and %s share the flag --%s", k.Path, other, k.Flag)
		}
		flags[k.Flag] = k.Path
		if k.secret != "" && k.kind != reflect.TypeFor[Secret]() {
			t.Errorf("the secret %s is a %v, which prints", k.Path, k.kind)
		}
		if k.secret == "value" {
			if secrets++; flags[k.Flag+"-file"] != "" {
				t.Errorf("%s-file is a key of its own", k.Flag)
			}
		}
	}
	if want := []string{"password-file", "token-file", "http-token-file"}; secrets != len(want) || flags[want[0]] == "" || flags[want[1]] == "" || flags[want[2]] == "" {
		t.Errorf("%d secrets, flags %v; want a form by file for each", secrets, flags)
	}
}

// The number of keys is a promise to operators: it grows only with a reason.
func TestNumberOfKeys(t *testing.T) {
	t.Parallel()
	if n := len(Keys()); n != 76 {
		t.Errorf("there are %d keys, want 76", n)
	}
}

// A value that is printed can be given again, in every layer, and sets the field it
// was printed from.
func TestEveryKeyCanBeSetInEveryLayer(t *testing.T) {
	t.Parallel()
	other := map[reflect.Type]string{
		reflect.TypeFor[string]():        "elsewhere",
		reflect.TypeFor[int]():           "3",
		reflect.TypeFor[float64]():       "1.5",
		reflect.TypeFor[bool]():          "true",
		reflect.TypeFor[time.Duration](): "7m",
		reflect.TypeFor[Size]():          "3MiB",
		reflect.TypeFor[Secret]():        "elsewhere",
		reflect.TypeFor[Durations]():     `{"tls.server":"7m"}`,
		reflect.TypeFor[Properties]():    `{"ca.1":{"tracking.requesterName":"Ada"}}`,
	}
	for _, k := range Keys() {
		value := other[k.kind]
		if value == "" {
			t.Fatalf("no value for type %v", k.kind)
		}
		inEnv := value
		if k.inSeconds {
			inEnv = "420"
		}
		yaml := k.Path + ": " + value + "\n"
		if group, leaf, ok := strings.Cut(k.Path, "."); ok {
			yaml = group + ":\n  " + leaf + ": " + value + "\n"
		}
		file := filepath.Join(t.TempDir(), "c.yaml")
		if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		for name, load := range map[string]func() (*Settings, error){
			"file " + file:     func() (*Settings, error) { return load(parsed(t, "--config", file), nil) },
			"env " + k.Env:     func() (*Settings, error) { return load(parsed(t), []string{k.Env + "=" + inEnv}) },
			"flag --" + k.Flag: func() (*Settings, error) { return load(parsed(t, "--"+k.Flag+"="+value), nil) },
		} {
			s, err := load()
			if err != nil {
				t.Errorf("%s by %s: %v", k.Path, name, err)
				continue
			}
			if got := s.text(k); got != value {
				t.Errorf("%s by %s is %q, want %q", k.Path, name, got, value)
			}
			if s.origin[k.Path] != name {
				t.Errorf("%s came from %q, want %q", k.Path, s.origin[k.Path], name)
			}
		}
	}
}

func parsed(t *testing.T, args ...string) *pflag.FlagSet {
	t.Helper()
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	AddFlags(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return flags
}

func TestSizes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Size{
		"0": 0, "1": 1, "1024": 1 << 10, "1KiB": 1 << 10, "3 MiB": 3 << 20, "2GiB": 2 << 30, "1TiB": 1 << 40, "9223372036854775807": 1<<63 - 1,
	} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("parseSize(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "GiB", "-1", "1GB", "1.5GiB", "8388608TiB", "1e9"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("parseSize(%q) = %d, want an error", text, got)
		}
	}
	for size, want := range map[Size]string{0: "0", 1: "1", 1 << 10: "1KiB", 1<<30 + 1<<20: "1025MiB", 1 << 40: "1TiB"} {
		if got := size.String(); got != want {
			t.Errorf("%d is printed as %q, want %q", int64(size), got, want)
		}
	}
}

// What the packages below take for a default must be what is printed as one: a zero
// handed down would become another value.
func TestDefaultsAreThoseOfThePackages(t *testing.T) {
	t.Parallel()
	c := enough()
	if err := c.CheckWorker(); err != nil {
		t.Errorf("the defaults are not valid: %v", err)
	}
	for name, v := range map[string]any{
		"gateway":   c.GatewayClient(),
		"transport": c.Transport(nil),
		"consumer":  c.Consumer(nil),
		"layout":    c.Layout(),
		"schedule":  c.Schedule(),
	} {
		for f, value := range reflect.ValueOf(v).Fields() {
			zeroMeansOff := map[string]bool{
				"layout.Events": true, "gateway.ProfileID": true, "gateway.ProfileValidity": true, "consumer.ProfileID": true, "consumer.Rate": true, "consumer.FleetRate": true,
				"consumer.ApprovalNever": true, "consumer.Metrics": true, "consumer.Tracer": true, "consumer.Policy": true, "consumer.StateDir": true, "consumer.RefuseUnverified": true, "gateway.ClientID": true,
				"transport.KeyPasswordFile": true, "transport.Renegotiation": true, "transport.PKCS12File": true, "transport.PKCS12PasswordFile": true, "transport.ServerCAFile": true,
				"transport.MaxIdleConns": true, "transport.ResponseHeaderTimeout": true,
				"transport.Log": true, "consumer.AuditKey": true, "consumer.Credentials": true, "layout.Audited": true,
			}
			if f.IsExported() && value.IsZero() && !zeroMeansOff[name+"."+f.Name] {
				t.Errorf("%s.%s is handed down as zero", name, f.Name)
			}
		}
	}
}

// enough is the least that a worker needs.
func enough() *Settings {
	s := &Settings{Config: Default()}
	s.Gateway.URL, s.Gateway.CAID = "https://gateway.example", "ca"
	s.Gateway.ClientCertPath, s.Gateway.ClientKeyPath = "c", "k"
	return s
}
